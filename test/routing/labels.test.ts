import { expect, test } from 'vitest';
import { filtersSchema } from '../../src/filters/config.ts';
import { createFilters } from '../../src/filters/index.ts';
import { compileCondition } from '../../src/routing/conditions.ts';
import { ask, contextOf } from '../request.ts';
import { routingOf, says, upstream } from './harness.ts';

test('what a filter finds keeps the request at home', async () => {
  const cloud = upstream('cloud', [says('cloud')]);
  const home = upstream('home', [says('home')], { local: true });
  const routing = routingOf([cloud, home], {
    place: [{ when: compileCondition('"personal-data" in request.labels'), local: true }],
  });
  const filters = createFilters(filtersSchema().parse({ mail: { kind: 'pii', action: 'flag' } }));
  const route = { ...routing.find('demo'), filters: ['mail'] };
  const targetFor = async (text: string) => {
    const request = ask({ messages: [{ role: 'user', content: [{ type: 'text', text }] }] });
    const filtered = await filters.apply(request, route, contextOf());
    return (await routing.attempt(route, filtered.request, contextOf())).target;
  };
  expect(await targetFor('What is the tide?')).toBe('cloud/m');
  expect(await targetFor('Write to jane.doe@example.com, please.')).toBe('home/m');
});
