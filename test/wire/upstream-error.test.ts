import { expect, test } from 'vitest';
import { errorOf } from '../../src/wire/upstream-error.ts';

test.each([
  { name: 'Go', body: { message: '404 page not found' } },
  { name: 'FastAPI', body: { detail: 'Not Found' } },
  { name: 'Express', body: { message: 'Cannot POST /chat/completions' } },
  { name: 'a page of HTML', body: undefined },
])('a base URL without /v1 is guessed from a 404 in the words of $name', ({ body }) => {
  expect(errorOf(404, body, {}, []).message).toMatch(/nothing at this address.*baseUrl.*\/v1/);
});

test.each([
  { message: 'The model `m` does not exist', code: 'model_not_found' },
  { message: 'Not found', type: 'not_found_error' },
  { message: 'model "m" not found, try pulling it first' },
])('an API that lacks the model keeps its words: $message', (error) => {
  expect(errorOf(404, { error }, {}, [])).toMatchObject({ status: 404, message: error.message });
});
