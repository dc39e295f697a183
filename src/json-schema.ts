import AjvCompiler from '@fastify/ajv-compiler'
import { Type, type Static, type TSchema } from 'typebox'

/** What a compiled schema is: a function that says whether a value satisfies it, and leaves what is wrong beside. */
export type Validate = ((value: unknown) => boolean) & { errors?: { instancePath: string, message?: string, params?: object }[] | null }

// What is published is passed on as it is: nothing is converted, filled in or left out.
const compiler = AjvCompiler()({}, { customOptions: { coerceTypes: false, useDefaults: false, removeAdditional: false } })
/** Compiles a JSON schema; throws if it is none. */
export const compile = (schema: object): Validate => compiler({ schema, method: '', url: '' }) as unknown as Validate

/** A field that may be left out, or be null as some languages write that. */
export function optional<Schema extends TSchema> (schema: Schema) {
  return Type.Optional(Type.Union([schema, Type.Null()]))
}

/** An object whose fields may have any name. A record of TypeBox does not look at fields whose name holds a new line. */
export function record<Schema extends TSchema> (schema: Schema) {
  return Type.Unsafe<Record<string, Static<Schema>>>({ type: 'object', additionalProperties: schema })
}

/** What is wrong with the value that a schema has refused last, in a few words that begin with its path. */
export function firstError ({ errors }: Validate): string {
  const [error] = errors ?? []
  const detail = Object.values(error?.params ?? {})[0]
  return `${error?.instancePath || '/'} ${error?.message}${error?.message?.includes('additional') ? `: ${String(detail)}` : ''}`
}
