/**
 * Registers the clients that the OpenID Foundation's conformance suite plays and fills in its plan configurations:
 *
 *     node test/conformance/prepare.ts --suite https://localhost:8443 --out /tmp/plans
 *
 * Run it with the settings of the server, which may be running; CONTRIBUTING.md has the rest. Needs openssl.
 */
import { execFileSync } from 'node:child_process';
import { createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values: options } = parseArgs({
  options: {
    suite: { type: 'string', default: 'https://localhost:8443' },
    out: { type: 'string' },
    alias: { type: 'string', default: 'countersign' },
    email: { type: 'string', default: 'ada@example.com' },
    password: { type: 'string', default: 'correct horse battery staple' },
    approval: { type: 'string', default: '' },
  },
});
const { suite, alias, email, password, out } = options;
const origin = process.env.JWT_ISSUER;
if (!origin?.startsWith('https:') || !out) {
  console.error('JWT_ISSUER must be set to the https origin of the server, and --out to a folder');
  process.exit(2);
}

type Json = Record<string, unknown>;

const root = join(import.meta.dirname, '../..');
const countersign = (args: string[], input = ''): Json =>
  JSON.parse(
    execFileSync(process.execPath, ['src/countersign.js', ...args], { cwd: root, input, encoding: 'utf8' }),
  ) as Json;

/** What the placeholders of the configurations stand for; an object takes the place of the whole string. */
const values: Record<string, string | Json> = {
  ORIGIN: origin,
  MTLS_ORIGIN: process.env.MTLS_ORIGIN ?? origin,
  SUITE: suite,
  ALIAS: alias,
  EMAIL: email,
  PASSWORD: password,
  APPROVAL: options.approval,
};

const publicMembers = (jwk: Json): Json =>
  Object.fromEntries(Object.entries(jwk).filter(([name]) => !['d', 'p', 'q', 'dp', 'dq', 'qi'].includes(name)));

/** An RSA key that signs with PS256, as a JWK. */
const signingKey = (name: string): Json => ({
  ...generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'jwk' }),
  kid: name.toLowerCase(),
  use: 'sig',
  alg: 'PS256',
});

/** A self-signed certificate with its key, both as PEM. */
const selfSigned = (name: string): { cert: string; key: string } => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-'));
  const [certPath, keyPath] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
  const subject = ['-subj', `/CN=${name.toLowerCase()}`, '-days', '30'];
  const key = ['-newkey', 'rsa:2048', '-nodes', '-keyout', keyPath, '-out', certPath];
  execFileSync('openssl', ['req', '-x509', ...key, ...subject], { stdio: 'ignore' });
  const pair = { cert: readFileSync(certPath, 'utf8'), key: readFileSync(keyPath, 'utf8') };
  rmSync(folder, { recursive: true });
  return pair;
};

const callback = `${suite}/test/a/${alias}/callback`;
/** What the suite adds for its second client, to see that a query is kept. */
const callbackWithQuery = `${callback}?dummy1=lorem&dummy2=ipsum`;
const afterLogout = `${suite}/test/a/${alias}/post_logout_redirect`;

const scope = 'openid profile email address phone offline_access';
const common: Json = { redirect_uris: [callback, callbackWithQuery], scope, require_pkce: false };
const codeFlow: Json = { ...common, grant_types: ['authorization_code', 'refresh_token'] };
const logout: Json = { ...codeFlow, post_logout_redirect_uris: [afterLogout] };
const hybrid: Json = {
  ...common,
  grant_types: ['authorization_code', 'implicit', 'refresh_token'],
  response_types: ['code', 'code id_token'],
};
const implicit: Json = { ...common, grant_types: ['implicit'], response_types: ['id_token'] };
const fapi: Json = { redirect_uris: [callback, callbackWithQuery], scope, profile: 'fapi2-security' };
const grants: Json = { grant_types: ['authorization_code', 'refresh_token'] };
const signed: Json = { token_endpoint_auth_method: 'private_key_jwt', token_endpoint_auth_signing_alg: 'PS256' };
const bound: Json = { tls_client_certificate_bound_access_tokens: true };
const byCertificate: Json = { ...bound, token_endpoint_auth_method: 'self_signed_tls_client_auth' };
const ciba: Json = {
  ...{ scope, ...signed, ...bound },
  grant_types: ['urn:openid:params:grant-type:ciba', 'refresh_token'],
  redirect_uris: [],
  response_types: [],
  id_token_signed_response_alg: 'ES256',
  backchannel_authentication_request_signing_alg: 'PS256',
};
const notified = {
  backchannel_token_delivery_mode: 'ping',
  backchannel_client_notification_endpoint: `${suite}/test/a/${alias}/ciba-notification-endpoint`,
};

/** Each client's metadata by the beginning of its placeholders; what it needs keys or certificates for it gets. */
const clients: Record<string, Json> = {
  CLIENT1: codeFlow,
  CLIENT2: codeFlow,
  CLIENT_POST: { ...codeFlow, token_endpoint_auth_method: 'client_secret_post' },
  LOGOUT: logout,
  BACKCHANNEL: {
    ...logout,
    backchannel_logout_uri: `${suite}/test/a/${alias}/backchannel_logout`,
    backchannel_logout_session_required: true,
  },
  HYBRID1: hybrid,
  HYBRID2: hybrid,
  HYBRID_POST: { ...hybrid, token_endpoint_auth_method: 'client_secret_post' },
  IMPLICIT1: implicit,
  IMPLICIT2: implicit,
  FAPI1: { ...fapi, ...grants, ...signed },
  FAPI2: { ...fapi, ...grants, ...signed },
  MTLS1: { ...fapi, ...grants, ...byCertificate },
  MTLS2: { ...fapi, ...grants, ...byCertificate },
  SIGNING1: { ...fapi, ...grants, ...signed, profile: 'fapi2-message-signing', request_object_signing_alg: 'PS256' },
  SIGNING2: { ...fapi, ...grants, ...signed, profile: 'fapi2-message-signing', request_object_signing_alg: 'PS256' },
  POLL1: { ...ciba, backchannel_token_delivery_mode: 'poll' },
  POLL2: { ...ciba, backchannel_token_delivery_mode: 'poll' },
  PING1: { ...ciba, ...notified },
  PING2: { ...ciba, ...notified },
};

/** A browser's share of the work: signs in and fills in the profile, which has no other way in. */
const fillInProfile = async (): Promise<void> => {
  const cookies = new Map<string, string>();
  /** What every form of a page has beside its fields. */
  let csrf = '';
  const visit = async (path: string, form?: Json): Promise<string> => {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join('; ');
    const answer = await fetch(new URL(path, origin), {
      redirect: 'manual',
      headers: { cookie, origin },
      ...(form ? { method: 'POST', body: new URLSearchParams({ ...form, csrf } as Record<string, string>) } : {}),
    });
    for (const line of answer.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      cookies.set(name, value);
    }
    const next = answer.headers.get('location');
    if (next) return visit(next);
    if (!answer.ok) throw new Error(`${path} was answered ${answer.status}`);
    const html = await answer.text();
    csrf = /name="csrf" value="([^"]+)"/.exec(html)?.[1] ?? csrf;
    return html;
  };
  const signIn = await visit('/account');
  await visit(/<form method="post" action="([^"]*)" novalidate>/.exec(signIn)?.[1] ?? '', { email, password });
  await visit('/account/profile', {
    ...{ name: 'Ada Lovelace', given_name: 'Ada', middle_name: 'King', family_name: 'Lovelace' },
    // The suite believes no year before 1900.
    ...{ nickname: 'Ada', preferred_username: 'ada', birthdate: '1985-12-10', gender: 'female' },
    ...{ picture: 'https://example.com/ada.png', profile: 'https://example.com/ada', website: 'https://example.com/' },
    ...{ phone_number: '+442079460000', locale: 'en', zoneinfo: 'Europe/London' },
    ...{ street_address: '12 St James’s Square', postal_code: 'SW1Y 4JH', locality: 'London', country: 'GB' },
  });
};

const register = (name: string, metadata: Json): void => {
  const more: Json = {};
  if (metadata.token_endpoint_auth_method === 'private_key_jwt') {
    const key = signingKey(name);
    values[`${name}_JWKS`] = { keys: [key] };
    more.jwks = { keys: [publicMembers(key)] };
  }
  if (metadata.tls_client_certificate_bound_access_tokens) {
    const { cert, key } = selfSigned(name);
    values[`${name}_CERT`] = cert;
    values[`${name}_KEY`] = key;
    const jwk: Json = {
      ...createPrivateKey(key).export({ format: 'jwk' }),
      kid: name.toLowerCase(),
      use: 'sig',
      alg: 'PS256',
    };
    const x5c = [new X509Certificate(cert).raw.toString('base64')];
    // The suite wants a key of its own from every client, whether or not it signs with it.
    values[`${name}_JWKS`] ??= { keys: [jwk] };
    more.jwks ??= { keys: [{ ...publicMembers(jwk), x5c }] };
  }
  const client = countersign(
    ['client', 'create', '--file', '-'],
    JSON.stringify({ client_name: `Conformance suite ${name}`, ...metadata, ...more }),
  );
  values[`${name}_ID`] = String(client.client_id);
  if (client.client_secret) values[`${name}_SECRET`] = String(client.client_secret);
};

/** What the Dynamic plan registers its clients with: it speaks no PKCE, which strangers' clients need otherwise. */
const makeInitialAccessToken = async (): Promise<void> => {
  const ask = async (path: string, body: Json, token?: string): Promise<Json> => {
    const answer = await fetch(new URL(path, origin), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token ? { authorization: `Bearer ${token}` } : {}) },
      body: JSON.stringify(body),
    });
    if (!answer.ok) throw new Error(`${path} was answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as Json;
  };
  const { accessToken } = await ask('/auth/login', { email, password });
  const grantTypes = ['authorization_code', 'refresh_token', 'implicit'];
  const policy = { name: 'conformance-suite', requirePkce: false, grantTypes };
  await ask('/software-policies', policy, String(accessToken));
  const wanted = { note: 'Conformance suite', softwarePolicy: policy.name };
  values.INITIAL_ACCESS_TOKEN = String((await ask('/initial-access-tokens', wanted, String(accessToken))).token);
};

countersign(['create-admin', '--email', email, '--password', password, '--name', 'Ada Lovelace']);
await fillInProfile();
await makeInitialAccessToken();
for (const [name, metadata] of Object.entries(clients)) {
  try {
    register(name, metadata);
  } catch (error) {
    // What the server is not set up for (certificates, say) it does not register; the plans that need it are left out.
    console.error(`${name}: ${String((error as { stderr?: string }).stderr ?? error).trim()}`);
  }
}

mkdirSync(out, { recursive: true });
const templates = join(import.meta.dirname, 'configuration');
for (const file of readdirSync(templates)) {
  const missing = new Set<string>();
  const filled = readFileSync(join(templates, file), 'utf8').replace(/"?\$\{(\w+)\}"?/g, (found, name: string) => {
    const value = values[name];
    if (value === undefined) missing.add(name);
    if (typeof value === 'object') return JSON.stringify(value);
    return found.replace(/\$\{\w+\}/, () => JSON.stringify(value ?? '').slice(1, -1));
  });
  if (missing.size) console.error(`${file} is left out: no ${[...missing].join(', ')}`);
  else writeFileSync(join(out, file), filled, { mode: 0o600 });
}
console.log(`Plan configurations for ${origin} are in ${out}`);
