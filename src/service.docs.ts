/**
 * Documentation that takes a whole service to write: `openapi.json`, the Postman collection, the table of problem codes,
 * the data model, the roles and permissions, and the risk of sign-ins. `npm run docs` rewrites the files; a test compares them.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { connect, type Db } from '../db/connect.ts';
import { dataModelMarkdown } from '../db/data-model.docs.ts';
import { migrate } from '../db/migrate.ts';
import { type App, createApp } from './app.ts';
import { riskMarkdown } from './auth/risk.docs.ts';
import { loadConfig } from './config.ts';
import { errorsMarkdown } from './errors.docs.ts';
import { createLog } from './log.ts';
import { observabilityMarkdown } from './metrics/metrics.docs.ts';
import { postmanCollection } from './postman.docs.ts';
import { permissionsMarkdown } from './roles/permissions.docs.ts';
import { listRoles } from './roles/roles.queries.ts';

/** What the description is written for: a development server as it starts by itself. */
export const documentedIssuer = 'http://localhost:3000';

const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;

/** The files by their paths in the repository. @param db migrated */
export const generatedFiles = async (
  app: Pick<App, 'createDocument' | 'routes'>,
  db: Db,
): Promise<Record<string, string>> => {
  const document = await app.createDocument();
  return {
    'openapi.json': json(document),
    'postman/countersign.postman_collection.json': json(postmanCollection(document)),
    'docs/errors.md': errorsMarkdown(),
    'docs/data-model.md': await dataModelMarkdown(db),
    'docs/permissions.md': permissionsMarkdown(await listRoles(db), app.routes),
    'docs/risk.md': riskMarkdown(),
    'docs/observability.md': observabilityMarkdown(),
  };
};

const rewrite = async (): Promise<void> => {
  const database = await connect({});
  await migrate(database.db);
  const config = loadConfig({
    JWT_ISSUER: documentedIssuer,
    ENCRYPTION_MASTER_KEY: Buffer.alloc(32).toString('base64'),
    LOG_LEVEL: 'silent',
  });
  const app = await createApp({ config, database, log: createLog(config.LOG_LEVEL) });
  for (const [name, text] of Object.entries(await generatedFiles(app, database.db))) {
    const path = fileURLToPath(new URL(`../${name}`, import.meta.url));
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  await app.stop();
  await database.close();
};

if (import.meta.main) await rewrite();
