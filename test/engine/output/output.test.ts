import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, describe, expect, test } from 'vitest';
import { createLocalProvider } from '../../../providers/local.ts';
import type { JsonObject } from '../../../src/core/json.ts';
import { type ChatRequest, plainRequest, type Tool } from '../../../src/core/request.ts';
import { collect } from '../../../src/core/streams.ts';
import { modelPath } from '../model.ts';
import { schemaGrammar } from './schema-grammar.ts';

const path = await modelPath();
const ajv = new Ajv2020({ strict: false, validateFormats: false });

/** Schemas whose every generated text must be valid; hot sampling makes the model wander wherever the grammar lets it. */
const schemas: Record<string, JsonObject> = {
  'an object with optional properties': {
    type: 'object',
    properties: {
      a: { type: 'string', maxLength: 8 },
      b: { type: 'integer' },
      c: { type: 'boolean' },
      d: { type: 'null' },
    },
    required: ['c'],
    additionalProperties: false,
  },
  'only optional properties': { type: 'object', properties: { a: { type: 'boolean' }, b: { type: 'boolean' } } },
  'enums and constants': {
    type: 'object',
    properties: { kind: { const: 'x"y' }, level: { enum: ['low', 'high', 3, null] } },
    required: ['kind', 'level'],
  },
  'integer bounds': {
    type: 'object',
    properties: {
      a: { type: 'integer', minimum: -12, maximum: 137 },
      b: { type: 'integer', exclusiveMinimum: 9, exclusiveMaximum: 12 },
    },
    required: ['a', 'b'],
  },
  'number bounds': {
    type: 'object',
    properties: {
      a: { type: 'number', minimum: 0.25, maximum: 0.75 },
      b: { type: 'number', minimum: -2.5, maximum: 3.5 },
      c: { type: 'number', exclusiveMinimum: 0, maximum: 1 },
    },
    required: ['a', 'b', 'c'],
  },
  'lengths of arrays and strings': {
    type: 'array',
    items: { type: 'string', minLength: 2, maxLength: 4 },
    minItems: 2,
    maxItems: 3,
  },
  'a pattern': {
    type: 'object',
    properties: {
      code: { type: 'string', pattern: '^[A-Z]{2}-\\d{3,4}(?:x|yy)?$' },
      loose: { type: 'string', pattern: '\\d{2}' },
    },
    required: ['code', 'loose'],
  },
  alternatives: {
    anyOf: [
      {
        type: 'object',
        properties: { a: { type: 'integer', maximum: 9, minimum: 0 } },
        required: ['a'],
        additionalProperties: false,
      },
      { type: 'string', maxLength: 5 },
    ],
  },
  'all of several': {
    allOf: [
      { type: 'object', properties: { a: { type: 'boolean' } }, required: ['a'] },
      { properties: { b: { type: 'boolean' } }, required: ['b'] },
    ],
  },
  'recursion by reference': {
    $defs: {
      node: {
        type: 'object',
        properties: { name: { enum: ['n'] }, child: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } },
        required: ['name', 'child'],
        additionalProperties: false,
      },
    },
    $ref: '#/$defs/node',
  },
  'a tuple': {
    type: 'array',
    prefixItems: [{ type: 'boolean' }, { type: 'integer', minimum: 1, maximum: 3 }],
    items: false,
    minItems: 2,
  },
  formats: {
    type: 'object',
    properties: {
      day: { type: 'string', format: 'date' },
      at: { type: 'string', format: 'date-time' },
      id: { type: 'string', format: 'uuid' },
      ip: { type: 'string', format: 'ipv4' },
    },
    required: ['day', 'at', 'id', 'ip'],
  },
  'several types': { type: ['boolean', 'null'] },
};

const refused: Record<string, { schema: JsonObject; names: RegExp }> = {
  'the contrary of what has none': {
    schema: { type: 'object', properties: { a: { not: { multipleOf: 3 } } }, required: ['a'] },
    names: /a: .*'not'/,
  },
  'different items of any kind': {
    schema: { type: 'array', items: { type: 'string' }, uniqueItems: true },
    names: /uniqueItems/,
  },
  'branches that overlap': { schema: { oneOf: [{ type: 'integer' }, { multipleOf: 3 }] }, names: /'oneOf'.*overlap/ },
  'a word that nobody knows': { schema: { unevaluatedItems: false }, names: /'unevaluatedItems'/ },
  'a step of too many digits': { schema: { type: 'number', multipleOf: 0.333333 }, names: /'multipleOf'/ },
  'a remote reference': { schema: { $ref: 'https://example.com/s.json' }, names: /\$ref/ },
  'a dangling reference': { schema: { $ref: '#/$defs/none' }, names: /none/ },
  'a reference to itself': { schema: { $defs: { a: { $ref: '#/$defs/a' } }, $ref: '#/$defs/a' }, names: /\$ref/ },
  'look-behind': { schema: { type: 'string', pattern: 'a(?<=a)b' }, names: /pattern.*look-around/ },
  'a pattern that nothing fits': { schema: { type: 'string', pattern: '^(?=a)b$' }, names: /pattern/ },
  'a word boundary': { schema: { type: 'string', pattern: '\\bx' }, names: /pattern.*\\b/ },
  'a pattern that grows beyond all bounds': {
    schema: { type: 'string', pattern: '^(a|b)*a(a|b){20}$' },
    names: /pattern.*too large/,
  },
  'nothing at all': { schema: { type: 'string', enum: [1, 2] }, names: /enum/ },
  'unique items': { schema: { type: 'array', uniqueItems: true }, names: /uniqueItems/ },
  'a tree without leaves': {
    schema: { type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] },
    names: /\$ref.*without an end/,
  },
  'no schema for a property': { schema: { type: 'object', properties: { a: null } }, names: /a: .*must be an object/ },
  'an empty range': { schema: { type: 'integer', minimum: 3, maximum: 2 }, names: /minimum/ },
  'a wrong type': { schema: { type: 'strnig' }, names: /type/ },
};

test.each(Object.entries(refused))('a schema with %s is refused by name', (_, { schema, names }) => {
  expect(() => schemaGrammar(schema, 'response_format')).toThrow(names);
});

test('a schema made to blow up is refused at once', () => {
  const started = performance.now();
  let deep: JsonObject = { type: 'string' };
  for (let i = 0; i < 5000; i++) deep = { type: 'array', items: deep };
  expect(() => schemaGrammar(deep, 'x')).toThrow(/nested|larger|stack/);
  const doubling: Record<string, JsonObject> = { d0: { type: 'string' } };
  for (let i = 1; i < 40; i++)
    doubling[`d${i}`] = {
      type: 'object',
      properties: {
        a: { allOf: [{ $ref: `#/$defs/d${i - 1}` }, { description: 'x' }] },
        b: { allOf: [{ $ref: `#/$defs/d${i - 1}` }, { description: 'y' }] },
      },
    };
  expect(() => schemaGrammar({ $defs: doubling, $ref: '#/$defs/d39' }, 'x')).toThrow();
  expect(
    schemaGrammar({ type: 'array', items: { type: 'string', maxLength: 50_000 }, maxItems: 90_000 }, 'x').length,
  ).toBeLessThan(20_000);
  expect(performance.now() - started).toBeLessThan(1000);
});

describe.skipIf(path === null)('with the real model', () => {
  const local = createLocalProvider({
    models: { m: { path: path ?? '' } },
    engine: { slots: 4, contextTokens: 1024, threads: 1 },
  });
  afterAll(() => local.close?.());

  const request = (more: Partial<ChatRequest>): ChatRequest => ({
    ...plainRequest('m', [{ role: 'user', content: [{ type: 'text', text: 'Give me an example as JSON.' }] }]),
    sampling: { temperature: 1.6, seed: 7 },
    maxTokens: 150,
    ...more,
  });
  const answer = async (more: Partial<ChatRequest>) => {
    const { choices } = await collect(local.stream(request(more), { signal: AbortSignal.timeout(60_000) }));
    const [choice] = choices;
    if (!choice) throw new Error('no choice');
    return choice;
  };

  test.each(Object.entries(schemas))('%s always comes out valid', async (name, schema) => {
    const validate = ajv.compile(schema);
    const seeds = [1, 2];
    const answers = await Promise.all(
      seeds.map((seed) =>
        answer({ sampling: { temperature: 1.6, seed }, responseFormat: { type: 'json-schema', name: 's', schema } }),
      ),
    );
    for (const { text, finishReason } of answers) {
      if (finishReason === 'length') continue; // a recursion that the model did not end
      expect({ text, valid: validate(JSON.parse(text)), errors: validate.errors }).toMatchObject({ valid: true });
    }
    if (name !== 'recursion by reference')
      expect(answers.some(({ finishReason }) => finishReason === 'stop')).toBe(true);
  });

  const weather: Tool = {
    kind: 'function',
    name: 'get_weather',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string', maxLength: 20 }, unit: { enum: ['c', 'f'] } },
      required: ['city', 'unit'],
    },
  };
  const clock: Tool = {
    kind: 'function',
    name: 'get_time',
    parameters: { type: 'object', properties: {}, additionalProperties: false },
  };

  test.each([
    { name: 'required', toolChoice: 'required' as const, tools: [weather, clock], names: ['get_weather', 'get_time'] },
    {
      name: 'named',
      toolChoice: { type: 'named' as const, name: 'get_weather' },
      tools: [clock, weather],
      names: ['get_weather'],
    },
    {
      name: 'allowed',
      toolChoice: { type: 'allowed' as const, mode: 'required' as const, names: ['get_time'] },
      tools: [clock, weather],
      names: ['get_time'],
    },
  ])('tool_choice $name calls from the first token, with valid arguments', async ({ toolChoice, tools, names }) => {
    const { toolCalls, finishReason, text } = await answer({ toolChoice, tools, parallelToolCalls: false });
    expect({ text, finishReason, calls: toolCalls.length }).toEqual({ text: '', finishReason: 'tool-calls', calls: 1 });
    const [call] = toolCalls;
    expect(names).toContain(call?.name);
    const tool = tools.find(({ name }) => name === call?.name);
    expect(ajv.validate(tool?.parameters ?? {}, JSON.parse(call?.arguments ?? ''))).toBe(true);
  });

  test('a JSON answer goes on exactly from what was delivered', async () => {
    const schema = {
      type: 'object',
      properties: { a: { type: 'string', maxLength: 10 }, b: { type: 'boolean' } },
      required: ['a', 'b'],
      additionalProperties: false,
    };
    const delivered = '{"a": "hel';
    const { text } = await answer({
      responseFormat: { type: 'json-schema', name: 's', schema },
      continueFinalMessage: true,
      messages: [
        { role: 'user', content: [{ type: 'text', text: 'JSON, please.' }] },
        { role: 'assistant', content: [{ type: 'text', text: delivered }], toolCalls: [] },
      ],
    });
    expect(ajv.validate(schema, JSON.parse(delivered + text))).toBe(true);
  });

  test('arguments of a call go on exactly from what was delivered', async () => {
    const { text, toolCalls, finishReason } = await collectContinued();
    expect(text).toBe('');
    expect(finishReason).toBe('tool-calls');
    expect(ajv.validate(weather.parameters ?? {}, JSON.parse(`{"city": "Par${toolCalls}`))).toBe(true);
  });
  async function collectContinued() {
    let args = '';
    let text = '';
    let finishReason: string | undefined;
    const events = local.stream(
      request({
        tools: [weather],
        toolChoice: 'required',
        parallelToolCalls: false,
        continueFinalMessage: true,
        messages: [
          { role: 'user', content: [{ type: 'text', text: 'Weather in Paris?' }] },
          {
            role: 'assistant',
            content: [],
            toolCalls: [{ id: 'call_1', kind: 'function', name: 'get_weather', arguments: '{"city": "Par' }],
          },
        ],
      }),
      { signal: AbortSignal.timeout(60_000) },
    );
    for await (const event of events) {
      if (event.type === 'tool-call-start') throw new Error('a second start');
      if (event.type === 'tool-call-delta') args += event.arguments;
      if (event.type === 'text-delta') text += event.text;
      if (event.type === 'finish') finishReason = event.reason;
    }
    return { text, toolCalls: args, finishReason };
  }

  test('an image is refused, naming its place', async () => {
    await expect(
      answer({ messages: [{ role: 'user', content: [{ type: 'image', url: 'data:image/png;base64,AA' }] }] }),
    ).rejects.toMatchObject({ kind: 'unsupported', param: 'messages[0].content[0]' });
  });
});
