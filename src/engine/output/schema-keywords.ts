import type { Json, JsonObject } from '../../core/json.ts';

/** Keywords that say nothing about which JSON is valid, or nothing that generation has to know. */
export const annotations: ReadonlySet<string> = new Set(
  '$schema $id $anchor $comment $defs definitions title description default examples example deprecated readOnly writeOnly strict id unevaluatedProperties contentEncoding contentMediaType discriminator externalDocs xml nullable'.split(
    ' ',
  ),
);

/** Keywords that are compiled. */
export const handled: ReadonlySet<string> = new Set(
  '$ref type enum const anyOf oneOf allOf not if then else dependentRequired dependentSchemas dependencies properties required additionalProperties patternProperties propertyNames minProperties maxProperties items additionalItems prefixItems contains minContains maxContains minItems maxItems uniqueItems minLength maxLength pattern format minimum maximum exclusiveMinimum exclusiveMaximum multipleOf'.split(
    ' ',
  ),
);

export const allTypes: readonly string[] = ['object', 'array', 'string', 'number', 'boolean', 'null'];

/** Keywords we don't know, in a form that asks for nothing. */
export function trivial(keyword: string, value: Json | undefined): boolean {
  return keyword.startsWith('x-') || value === null || value === undefined;
}

const typesByKeyword: Readonly<Record<string, readonly string[]>> = {
  object: [
    'properties',
    'required',
    'additionalProperties',
    'patternProperties',
    'propertyNames',
    'minProperties',
    'maxProperties',
  ],
  array: ['items', 'prefixItems', 'minItems', 'maxItems', 'contains', 'uniqueItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
};

/** What a schema without a type speaks of: its keywords hold for values of that type only, and that is what is written. */
export const inferType = (schema: JsonObject): string | undefined =>
  Object.entries(typesByKeyword).find(([, keywords]) => keywords.some((name) => schema[name] !== undefined))?.[0];
