import { parse, type Type } from 'protobufjs'

// Names and numbers of the fields as https://centrifugal.dev/docs/transports/client_protocol and its clients have them; what is
// not spoken here is left out, and skipped where it comes.
const { root } = parse(`
  syntax = "proto3";

  message Command {
    uint32 id = 1;
    ConnectRequest connect = 4;
    SubscribeRequest subscribe = 5;
    Channel unsubscribe = 6;
    PublishRequest publish = 7;
    Channel presence = 8;
    Channel presence_stats = 9;
    HistoryRequest history = 10;
    Nothing ping = 11;
    Nothing send = 12;
    RpcRequest rpc = 13;
    Token refresh = 14;
    SubRefreshRequest sub_refresh = 15;
  }
  message Nothing {}
  message Channel { string channel = 1; }
  message Token { string token = 1; }
  message StreamPosition { uint64 offset = 1; string epoch = 2; }
  message ConnectRequest { string token = 1; bytes data = 2; map<string, SubscribeRequest> subs = 3; string name = 4; string version = 5; }
  message SubscribeRequest { string channel = 1; string token = 2; bool recover = 3; string epoch = 6; uint64 offset = 7; bytes data = 8; Nothing tf = 13; int64 flag = 14; int32 type = 15; }
  message PublishRequest { string channel = 1; bytes data = 2; }
  message HistoryRequest { string channel = 1; int32 limit = 7; StreamPosition since = 8; bool reverse = 9; }
  message RpcRequest { bytes data = 1; string method = 2; }
  message SubRefreshRequest { string channel = 1; string token = 2; }

  message EmulationRequest { string node = 1; string session = 2; bytes data = 3; }

  message Reply {
    uint32 id = 1;
    Error error = 2;
    Push push = 4;
    ConnectResult connect = 5;
    SubscribeResult subscribe = 6;
    Nothing unsubscribe = 7;
    Nothing publish = 8;
    PresenceResult presence = 9;
    PresenceStatsResult presence_stats = 10;
    HistoryResult history = 11;
    RpcResult rpc = 13;
    RefreshResult refresh = 14;
    Expiry sub_refresh = 15;
  }
  message Error { uint32 code = 1; string message = 2; bool temporary = 3; }
  message ConnectResult { string client = 1; string version = 2; bool expires = 3; uint32 ttl = 4; bytes data = 5; map<string, SubscribeResult> subs = 6; uint32 ping = 7; bool pong = 8; string session = 9; string node = 10; }
  message SubscribeResult { bool expires = 1; uint32 ttl = 2; bool recoverable = 3; string epoch = 6; repeated Publication publications = 7; bool recovered = 8; uint64 offset = 9; bool positioned = 10; bytes data = 11; bool was_recovering = 12; }
  message PresenceResult { map<string, ClientInfo> presence = 1; }
  message PresenceStatsResult { uint32 num_clients = 1; uint32 num_users = 2; }
  message HistoryResult { repeated Publication publications = 1; string epoch = 2; uint64 offset = 3; }
  message RpcResult { bytes data = 1; }
  message RefreshResult { string client = 1; string version = 2; bool expires = 3; uint32 ttl = 4; }
  message Expiry { bool expires = 1; uint32 ttl = 2; }
  message Publication { bytes data = 4; ClientInfo info = 5; uint64 offset = 6; map<string, string> tags = 7; }
  message ClientInfo { string user = 1; string client = 2; bytes conn_info = 3; bytes chan_info = 4; }

  message Push { string channel = 2; Publication pub = 4; Unsubscribe unsubscribe = 7; Subscribe subscribe = 9; Disconnect disconnect = 11; }
  message Disconnect { uint32 code = 1; string reason = 2; }
  message Unsubscribe { uint32 code = 2; string reason = 3; }
  message Subscribe { bool recoverable = 1; string epoch = 4; uint64 offset = 5; bool positioned = 6; bytes data = 7; }
`, { keepCase: true })

/** What clients send, and are sent. */
export const commandType: Type = root.lookupType('Command')
export const replyType: Type = root.lookupType('Reply')
export const emulationType: Type = root.lookupType('EmulationRequest')
