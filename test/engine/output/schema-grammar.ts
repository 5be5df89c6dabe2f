import type { Json } from '../../../src/core/json.ts';
import { createGrammar } from '../../../src/engine/output/gbnf.ts';
import { addSchema } from '../../../src/engine/output/json-schema.ts';

/** A schema alone as a whole grammar. */
export function schemaGrammar(schema: Json | undefined, param: string): string {
  const builder = createGrammar();
  return builder.text(addSchema(builder, schema, param));
}
