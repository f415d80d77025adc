/** Apache with mod_auth_openidc from Debian's packages, on a port and in a folder of its own. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { start } from './relying-party-apps.ts';

const modules = '/usr/lib/apache2/modules';
const program = process.env.APACHE_PATH ?? '/usr/sbin/apache2';

/** Why there can be no Apache here, unless APACHE_PATH says that there must be one. */
export const apacheIsMissing: string | undefined =
  !process.env.APACHE_PATH && !(existsSync(program) && existsSync(`${modules}/mod_auth_openidc.so`))
    ? 'Apache is missing: apt-get install apache2-bin libapache2-mod-auth-openidc'
    : undefined;

export interface Apache {
  output(): string;
  stop(): Promise<void>;
}

/**
 * Starts it at the URL with this piece of configuration, in which `${NAME}` stands for a variable.
 * @throws Error with what it printed, if it does not answer
 */
export const startApache = async (url: string, configuration: string, env: Record<string, string>): Promise<Apache> => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-apache-'));
  const { port } = new URL(url);
  const log = join(folder, 'error.log');
  const needed = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'proxy', 'proxy_http', 'auth_openidc'];
  writeFileSync(
    join(folder, 'apache.conf'),
    `
ServerName localhost
Listen 127.0.0.1:${port}
ServerRoot ${folder}
DefaultRuntimeDir ${folder}
PidFile ${folder}/pid
ErrorLog ${log}
LogLevel warn
${needed.map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`).join('\n')}
User www-data
Group www-data
${configuration}
`,
  );
  const clear = () => rmSync(folder, { recursive: true, force: true });
  try {
    const { stop } = await start([program, '-f', join(folder, 'apache.conf'), '-D', 'FOREGROUND'], url, env);
    return { output: () => readFileSync(log, 'utf8'), stop: () => stop().finally(clear) };
  } catch (error) {
    const cause = existsSync(log) ? readFileSync(log, 'utf8') : undefined;
    clear();
    throw new Error(`${error}\n${cause}`, { cause: error });
  }
};
