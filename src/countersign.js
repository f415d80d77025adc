#!/usr/bin/env node
/**
 * The program's entry. Node keeps what it makes of the sources (types stripped, code compiled) in a cache, which takes
 * a quarter off the start and twenty megabytes off the process; this one file is JavaScript so that nothing has to be
 * stripped before the cache is on. It is in our own folder: others can write to the system's temporary one, and what
 * lies in the cache is run.
 */
import { existsSync } from 'node:fs';
import module from 'node:module';
import { fileURLToPath } from 'node:url';

if (Number.parseInt(process.versions.node, 10) < 24) {
  process.stderr.write(
    `This needs Node.js 24; here it is ${process.versions.node}. npm scripts bring their own: npm start.\n`,
  );
  process.exit(1);
}
if (existsSync('.env')) process.loadEnvFile('.env');
module.enableCompileCache(fileURLToPath(new URL('../node_modules/.cache/countersign', import.meta.url)));
const { main } = await import('./cli.ts');
await main(process.argv.slice(2));
