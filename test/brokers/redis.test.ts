import t from 'tap'
import { RedisBroker } from '../../src/brokers/redis.ts'
import { startRedis } from '../redis.ts'
import { brokerContract } from './contract.ts'

const quiet = { info: () => {}, warn: () => {} }

t.test('one Redis', async (t) => {
  const redis = await startRedis(t)
  await brokerContract(t, () => new RedisBroker({ redisUrl: redis.url, redisPrefix: 'test', redisShardedPubsub: 'auto' }, quiet))
})
