/**
 * Runs the core flows of the Postman collection with newman against a development server of its own, as somebody would
 * who has just cloned the repository. Exits with 1 when a request or a check fails.
 *
 *   node test/postman.ts
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { connect } from '../db/connect.ts';
import { migrate } from '../db/migrate.ts';
import { createApp } from '../src/app.ts';
import { operator } from '../src/audit/logs.commands.ts';
import { createAdministrator } from '../src/auth/administrators.commands.ts';
import { loadConfig } from '../src/config.ts';
import { close, listen } from '../src/http/server.ts';
import { createLog } from '../src/log.ts';
import { freePort } from './support/ports.ts';

/** Pinned, and fetched when it is needed: as a dependency it would bring more packages than all others together. */
const newman = 'newman@6.2.2';
const collection = fileURLToPath(new URL('../postman/countersign.postman_collection.json', import.meta.url));
const administrator = { email: 'admin@example.com', password: 'seven wonders of a quiet harbour', name: 'Admin' };

const database = await connect({});
await migrate(database.db);
const port = await freePort();
const baseUrl = `http://localhost:${port}`;
const config = loadConfig({
  JWT_ISSUER: baseUrl,
  ENCRYPTION_MASTER_KEY: Buffer.alloc(32, 1).toString('base64'),
  LOG_LEVEL: 'error',
});
const app = await createApp({ config, database, log: createLog(config.LOG_LEVEL) });
await createAdministrator(app.accounts, operator, administrator);
const { server } = await listen(app.koa.callback(), port, '127.0.0.1');
await app.jobs.start();

const variables = { baseUrl, adminEmail: administrator.email, adminPassword: administrator.password };
const values = Object.entries(variables).flatMap(([name, value]) => ['--env-var', `${name}=${value}`]);
const run = spawn('npx', ['--yes', newman, 'run', collection, '--folder', 'Core flows', '--color', 'off', ...values], {
  stdio: 'inherit',
});
const code = await new Promise<number>((resolve, reject) => {
  run.once('error', reject);
  run.once('exit', (status) => resolve(status ?? 1));
});

app.drain();
await close(server);
await app.stop();
await database.close();
process.exit(code);
