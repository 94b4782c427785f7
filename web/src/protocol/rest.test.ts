import { expect, test } from 'vitest';
import { Rest } from './rest';

test('a route is asked for with all regions that were not reached, and nothing that is empty', async () => {
  const asked: string[] = [];
  const rest = new Rest({
    bases: () => ['https://eu.example.org'],
    fetch: (url) => {
      asked.push(String(url));
      return Promise.resolve(new Response('{"region":"eu","endpoints":[]}'));
    },
  });
  await rest.route({ as: '', failed: ['us-east', 'ap-south'] });
  await rest.route({ failed: [] });
  expect(asked).toEqual(['https://eu.example.org/v1/route?failed=us-east&failed=ap-south', 'https://eu.example.org/v1/route']);
});
