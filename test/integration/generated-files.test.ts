/** What `npm run docs` writes is as the service is. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { documentedIssuer, generatedFiles } from '../../src/service.docs.ts';
import { startServer, type TestServer } from '../support/server.ts';

const names = [
  'openapi.json',
  'postman/countersign.postman_collection.json',
  'docs/errors.md',
  'docs/data-model.md',
  'docs/permissions.md',
  'docs/risk.md',
  'docs/observability.md',
];

let server: TestServer;
let files: Record<string, string>;
beforeAll(async () => {
  server = await startServer({ JWT_ISSUER: documentedIssuer });
  files = await generatedFiles(server.app, server.database.db);
});
afterAll(() => server.stop());

describe('checked-in files', () => {
  it('are all of those that are generated', () => expect(Object.keys(files)).toEqual(names));
  for (const name of names) {
    it(`${name} is up to date (npm run docs)`, () => {
      expect(readFileSync(new URL(`../../${name}`, import.meta.url), 'utf8')).toBe(files[name]);
    });
  }
});
