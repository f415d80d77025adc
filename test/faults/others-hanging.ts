/**
 * The systems of others hang: they take connections and say nothing. Mail, SMS, Consul, an identity provider and the receivers of
 * back-channel logout are all away at once; people sign in and out as fast as ever, and what could not be sent is sent once they are back.
 */

import { writeFileSync } from 'node:fs';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { SMTPServer } from 'smtp-server';
import { freePort } from '../support/ports.ts';
import { ask, fine, newPerson } from './clients.ts';
import { sleep, trial, until } from './frame.ts';
import { startScene } from './scene.ts';

/** Takes connections, and nothing else. */
const hang = (port: number): Promise<() => Promise<void>> =>
  new Promise((resolve) => {
    const sockets = new Set<Socket>();
    const server = createServer((socket) => {
      sockets.add(socket);
      socket.on('error', () => {});
    });
    server.listen(port, '127.0.0.1', () =>
      resolve(
        () =>
          new Promise((done) => {
            server.close(() => done());
            for (const socket of sockets) socket.destroy();
          }),
      ),
    );
  });

const answer = async (port: number, handle: (request: IncomingMessage, response: ServerResponse) => void) => {
  const server = createHttp(handle);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
};

await trial(import.meta.filename, async (t) => {
  const [mail, consul, upstream, breaches] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  const giveBack = await Promise.all([mail, consul, upstream, breaches].map(hang));
  const providers = join(t.directory, 'providers.json');
  writeFileSync(
    providers,
    JSON.stringify([
      {
        id: 'upstream',
        name: 'Upstream',
        preset: 'oidc',
        issuer: `http://127.0.0.1:${upstream}`,
        client_id: 'us',
        client_secret: 'a secret of theirs',
      },
    ]),
  );
  const scene = await startScene(t, {
    people: 3,
    settings: {
      SMTP_URL: `smtp://127.0.0.1:${mail}`,
      CONSUL_ADDR: `http://127.0.0.1:${consul}`,
      IDENTITY_PROVIDERS_PATH: providers,
      PASSWORD_BREACH_URL: `http://127.0.0.1:${breaches}/range/`,
    },
  });
  const { service, traffic, finish } = scene;
  traffic.phase('while all of them hang', fine, 5000);
  const asked: string[] = [];
  for (let count = 0; count < (t.short ? 5 : 20); count++) {
    const person = await newPerson(service.address);
    const { email, password } = person;
    const login = await ask(`${service.address}/auth/login`, { json: { email, password } });
    t.check(login.status === 200, `a sign-in was answered ${login.status}`);
    const forgot = await ask(`${service.address}/auth/forgot-password`, { json: { email } });
    t.check(forgot.status < 300 && forgot.ms < 3000, `a mail was asked for: ${forgot.status} after ${forgot.ms} ms`);
    asked.push(email);
  }
  const page = await ask(`${service.address}/register`);
  t.check(page.status === 200 && page.ms < 3000, `a page was answered ${page.status} after ${Math.round(page.ms)} ms`);
  const social = await ask(`${service.address}/account/sign-in/upstream`);
  t.check(social.ms < 8000, `a page that needs the provider took ${Math.round(social.ms)} ms`);
  await sleep(t.short ? 1000 : 30_000);

  // They are back: what waited arrives by itself.
  for (const back of giveBack) await back();
  const received = new Set<string>();
  const smtp = new SMTPServer({
    authOptional: true,
    disabledCommands: ['STARTTLS'],
    onData: (stream, session, done) => {
      stream.resume();
      stream.on('end', () => {
        for (const { address } of session.envelope.rcptTo) received.add(address);
        done();
      });
    },
  });
  smtp.on('error', () => {});
  smtp.listen(mail, '127.0.0.1');
  t.later(() => smtp.close());
  const registrations: string[] = [];
  await answer(consul, (request, response) => {
    registrations.push(`${request.method} ${request.url}`);
    response.end('{}');
  });
  const all = () => asked.every((email) => received.has(email));
  await until('all mails arrive', 120, all).catch(({ message }: Error) => t.lost(message));
  t.note(`mails arrived for ${asked.filter((email) => received.has(email)).length} of ${asked.length} people`);
  await until('Consul knows of us', 60, () => registrations.some((line) => line.includes('/v1/agent/service/register')))
    .then((ms) => t.note(`registered with Consul ${Math.round(ms)} ms after it was back`))
    .catch(({ message }: Error) => t.lost(message));
  traffic.phase('after', fine);
  await sleep(1000);
  await finish();
});
