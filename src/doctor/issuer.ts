/** The issuer's URL as others reach it: its name, its certificate, its discovery document, its keys, its clock. */
import { connect } from 'node:tls';
import { reportCertificateEnd } from './certificate-end.ts';
import { reportClock } from './clock.ts';
import { type Check, type Report, reasonOf } from './findings.ts';

const patienceMs = 5000;

/** When the certificate ends that a server shows; whether it is trusted is another question. */
const certificateEnd = (url: URL): Promise<Date> =>
  new Promise((resolve, reject) => {
    const options = {
      host: url.hostname,
      port: Number(url.port || 443),
      servername: url.hostname,
      rejectUnauthorized: false,
    };
    const socket = connect({ ...options, timeout: patienceMs }, () => {
      const { valid_to: end } = socket.getPeerCertificate();
      socket.destroy();
      if (end) resolve(new Date(end));
      else reject(new Error('it shows no certificate'));
    });
    socket.once('error', reject);
    socket.once('timeout', () => socket.destroy(new Error('timeout')));
  });

const get = async (
  url: string,
): Promise<{ status: number; headers: Headers; json: Record<string, unknown> | undefined }> => {
  const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(patienceMs) });
  const json = (await answer.json().catch(() => undefined)) as Record<string, unknown> | undefined;
  return { status: answer.status, headers: answer.headers, json };
};

const reportUnreachable = (issuer: string, error: unknown, report: Report): void => {
  const reason = reasonOf(error);
  const refused = /ECONNREFUSED/.test(reason);
  const advice = refused
    ? 'Start the service, or look at the proxy in front of it'
    : /certificate|CERT|self.signed|UNABLE_TO/i.test(reason)
      ? 'The certificate must be for this name and from an authority that clients trust'
      : 'The name must lead here, also from this machine: JWT_ISSUER is the URL under which people and applications reach it';
  // Before the first start that is as it should be.
  report(refused ? 'warning' : 'failure', `${issuer} cannot be reached: ${reason}`, advice);
};

/** @param kids of the keys in the database; undefined when they are not known */
const reportIssuer = async (issuer: string, kids: () => Promise<readonly string[] | undefined>, report: Report) => {
  let discovery: Awaited<ReturnType<typeof get>>;
  const asked = Date.now();
  try {
    discovery = await get(`${issuer}/.well-known/openid-configuration`);
  } catch (error) {
    return reportUnreachable(issuer, error, report);
  }
  const { status, headers, json } = discovery;
  if (status !== 200 || json?.issuer === undefined)
    return report(
      'failure',
      `${issuer} answers ${status} where its discovery document should be`,
      'Something else answers there: have the proxy pass all paths on to this service',
    );
  if (json.issuer !== issuer)
    return report(
      'failure',
      `what answers at ${issuer} calls itself ${String(json.issuer)}`,
      'JWT_ISSUER must be that URL, character by character, for every replica',
    );
  report('ok', `${issuer} gives this issuer’s discovery document`);
  const jwks = await get(String(json.jwks_uri));
  const published = ((jwks.json?.keys ?? []) as { kid?: string }[]).map(({ kid }) => kid);
  const expected = await kids();
  const missing = expected?.filter((kid) => !published.includes(kid)) ?? [];
  if (!published.length) report('failure', 'its JWKS has no keys', 'Look at the log of the service');
  else if (missing.length)
    report(
      'failure',
      `its JWKS lacks ${missing.length} of the keys in this database`,
      'It serves from another database, or a cache in front of it is older than ten minutes',
    );
  else report('ok', expected ? 'its JWKS has the keys of this database' : `its JWKS has ${published.length} keys`);
  const date = Date.parse(headers.get('date') ?? '');
  // Told in whole seconds, somewhere between the question and its answer.
  if (!Number.isNaN(date)) reportClock('the issuer’s', date, report, 1 + (Date.now() - asked) / 1000);
};

const reportCertificate = async (issuer: string, report: Report): Promise<void> => {
  const end = await certificateEnd(new URL(issuer)).catch(() => undefined);
  // That it cannot be reached is told already.
  if (end) reportCertificateEnd(`the certificate of ${new URL(issuer).host}`, end, report);
};

export const issuerChecks = (
  issuer: string | undefined,
  kids: () => Promise<readonly string[] | undefined>,
): Check[] => {
  if (issuer === undefined) return [];
  return [
    { name: 'issuer', advice: 'Look at JWT_ISSUER', run: (report) => reportIssuer(issuer, kids, report) },
    ...(issuer.startsWith('https:')
      ? [{ name: 'issuer', advice: '', run: (report: Report) => reportCertificate(issuer, report) }]
      : []),
  ];
};
