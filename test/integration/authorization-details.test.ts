/** Rich Authorization Requests (RFC 9396): types by configuration, words on the consent page, details in tokens. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDetailsTypes } from '../../src/provider/authorization-details.ts';
import { password } from '../support/browser.ts';
import {
  basic,
  expectError,
  newPerson,
  type Parameters,
  type Person,
  post,
  type RelyingParty,
  registerRelyingParty,
  send,
} from '../support/relying-party.ts';
import { startServer, type TestServer } from '../support/server.ts';

const types = {
  payment_initiation: {
    title: { en: 'Make a payment', de: 'Eine Zahlung ausführen' },
    text: {
      en: 'Pay {amount.value} {amount.currency} to {creditor}',
      de: '{amount.value} {amount.currency} an {creditor} zahlen',
    },
    schema: {
      type: 'object',
      properties: {
        amount: {
          type: 'object',
          properties: { currency: { type: 'string', pattern: '^[A-Z]{3}$' }, value: { type: 'string', maxLength: 12 } },
          required: ['currency', 'value'],
          additionalProperties: false,
        },
        creditor: { type: 'string', maxLength: 100 },
      },
      required: ['amount', 'creditor'],
      additionalProperties: false,
    },
  },
  door: {
    title: { en: 'Open a door' },
    schema: { type: 'object', properties: { actions: { type: 'array', items: { enum: ['open'] } } } },
  },
  account_information: { title: { en: 'See your accounts' }, schema: { type: 'object', additionalProperties: false } },
};
const payment = {
  type: 'payment_initiation',
  amount: { currency: 'EUR', value: '123.50' },
  creditor: 'Merchant <b>A</b>',
};
const accounts = { type: 'account_information', actions: ['list_accounts'] };

let server: TestServer;
let rp: RelyingParty;
let other: RelyingParty;
beforeAll(async () => {
  const path = join(await mkdtemp(join(tmpdir(), 'countersign-test-')), 'details.json');
  await writeFile(path, JSON.stringify(types));
  server = await startServer({ AUTHORIZATION_DETAILS_PATH: path });
  rp = await registerRelyingParty(server, {
    authorization_details_types: ['payment_initiation', 'account_information', 'door'],
    scope: 'openid users:read:own',
    grant_types: ['authorization_code', 'refresh_token', 'client_credentials'],
  });
  other = await registerRelyingParty(server);
});
afterAll(() => server.stop());

const asking = (...details: unknown[]): Parameters => ({
  authorization_details: JSON.stringify(details),
  resource: `${server.issuer}/api`,
  scope: 'openid users:read:own',
});

/** Signs in, and stops at the consent page. */
const consentPage = async ({ browser, email }: Person, parameters: Parameters) => {
  const attempt = await rp.begin(parameters);
  const page = await browser.go(attempt.url);
  return {
    attempt,
    page: page.html.includes('current-password') ? await browser.submit(page, { email, password }) : page,
  };
};
/** Without the signs that isolate what was filled in. */
const plain = ({ html }: { html: string }) => html.replace(/[\u2068\u2069]/g, '');
const grant = async (person: Person, parameters: Parameters) => {
  const { attempt, page } = await consentPage(person, parameters);
  const { url: callback } = await person.browser.submit(page);
  return { attempt, callback };
};

describe('the consent page', () => {
  it('says in words, and member by member, what would be allowed', async () => {
    const { page } = await consentPage(await newPerson(server), asking(payment, accounts));
    expect(page.html).toContain('Make a payment');
    expect(plain(page)).toContain('Pay 123.50 EUR to Merchant &lt;b&gt;A&lt;/b&gt;');
    expect(page.html).toContain('amount.currency');
    expect(page.html).toContain('See your accounts');
    expect(page.html).toContain('list_accounts');
  });

  it('speaks the person’s language where the operator wrote it', async () => {
    const { page } = await consentPage(await newPerson(server), { ...asking(payment), ui_locales: 'de' });
    expect(plain(page)).toContain('123.50 EUR an Merchant');
  });

  it('is shown each time: what was allowed once is not allowed again', async () => {
    const person = await newPerson(server);
    await rp.redeem(await grant(person, asking(payment)));
    const { page } = await consentPage(person, asking(payment));
    expect([page.url.pathname.startsWith('/interaction/'), plain(page).includes('Pay 123.50')]).toEqual([true, true]);
    const silent = await person.browser.go((await rp.begin({ ...asking(payment), prompt: 'none' })).url);
    expect(silent.url.searchParams.get('error')).toMatch(/consent_required|interaction_required/);
  });
});

describe('what was allowed', () => {
  it('is in the token response, the access token, refreshed ones, and introspection', async () => {
    const tokens = await rp.redeem(await grant(await newPerson(server), asking(payment, accounts)));
    expect(tokens.authorization_details).toEqual([payment, accounts]);
    expect(decodeJwt(tokens.access_token).authorization_details).toEqual([payment, accounts]);
    const refreshed = await rp.refresh(tokens.refresh_token as string);
    expect(decodeJwt(refreshed.access_token).authorization_details).toEqual([payment, accounts]);
    const { body } = await post(server, '/oauth/introspect', { token: tokens.access_token }, basic(rp.client));
    expect(body).toMatchObject({ active: true, authorization_details: [payment, accounts] });
  });

  it('can be narrowed at the token endpoint, and not changed', async () => {
    const narrowed = await rp.redeem(await grant(await newPerson(server), asking(payment, accounts)), {
      authorization_details: JSON.stringify([accounts]),
    });
    expect(narrowed.authorization_details).toEqual([accounts]);
    const more = { ...payment, amount: { currency: 'EUR', value: '999.00' } };
    await expect(
      rp.redeem(await grant(await newPerson(server), asking(payment)), {
        authorization_details: JSON.stringify([more]),
      }),
    ).rejects.toMatchObject({ error: 'invalid_authorization_details' });
  });

  it('is nothing to a token request that asks for none of it', async () => {
    const tokens = await rp.redeem(await grant(await newPerson(server), asking(payment)), {
      authorization_details: '[]',
    });
    expect(tokens.authorization_details ?? []).toEqual([]);
    expect(decodeJwt(tokens.access_token).authorization_details ?? []).toEqual([]);
  });

  it('goes to the places it names alone', async () => {
    const elsewhere = { ...accounts, locations: ['https://bank.example.com'] };
    const tokens = await rp.redeem(await grant(await newPerson(server), asking(payment, elsewhere)));
    expect(decodeJwt(tokens.access_token).authorization_details).toEqual([payment]);
  });
});

const refusals: [what: string, details: string][] = [
  ['a type that nobody registered', JSON.stringify([{ type: 'unknown' }])],
  ['a member that the schema does not have', JSON.stringify([{ ...payment, extra: 1 }])],
  ['a member that is missing', JSON.stringify([{ type: 'payment_initiation', creditor: 'A' }])],
  ['a value that the schema refuses', JSON.stringify([{ ...payment, amount: { currency: 'euro', value: '1' } }])],
  ['a common member that the schema bounds', JSON.stringify([{ type: 'door', actions: ['delete_everything'] }])],
  ['text that turns around', JSON.stringify([{ ...payment, creditor: 'Bob\u202Eyadot' }])],
  ['text with what cannot be seen', JSON.stringify([{ ...accounts, identifier: 'a\u200Bb' }])],
  ['a line of its own', JSON.stringify([{ ...payment, creditor: 'A\nB' }])],
  ['a member that lies deep', JSON.stringify([{ ...accounts, a: { b: { c: { d: { e: { f: 1 } } } } } }])],
  ['no type', JSON.stringify([{ creditor: 'A' }])],
  ['no list', JSON.stringify(payment)],
  ['no JSON', '[{'],
  ['an inherited name for a type', JSON.stringify([{ type: 'toString' }])],
  ['more than anybody would read', JSON.stringify(Array.from({ length: 11 }, () => accounts))],
  [
    'a detail of great length',
    JSON.stringify([{ ...accounts, datatypes: Array.from({ length: 900 }, () => 'abcdef') }]),
  ],
];

describe('bad details are invalid_authorization_details (section 5)', () => {
  it.each(refusals)('%s', async (_, authorization_details) => {
    const { browser } = await newPerson(server);
    const { url } = await browser.go((await rp.begin({ authorization_details })).url);
    expect([url.searchParams.get('error'), url.searchParams.has('code')]).toEqual([
      'invalid_authorization_details',
      false,
    ]);
  });

  it('also for a client that is not registered for the type, and where nobody could be asked', async () => {
    const { browser } = await newPerson(server);
    const { url } = await browser.go((await other.begin({ authorization_details: JSON.stringify([payment]) })).url);
    expect(url.searchParams.get('error')).toBe('invalid_authorization_details');
    const form = { grant_type: 'client_credentials', authorization_details: JSON.stringify([payment]) };
    expectError(await post(server, '/oauth/token', form, basic(rp.client)), [400, 'invalid_authorization_details']);
  });
});

describe('types', () => {
  it('are advertised, and are nothing unless configured', async () => {
    const { body } = await send(`${server.issuer}/.well-known/openid-configuration`);
    expect(body.authorization_details_types_supported).toEqual(['payment_initiation', 'door', 'account_information']);
    await expect(registerRelyingParty(server, { authorization_details_types: ['other'] })).rejects.toThrow(
      /authorization_details_types/,
    );
  });

  it.each([
    ['no English title', { a: { title: { de: 'A' }, schema: { type: 'object' } } }],
    ['no schema', { a: { title: { en: 'A' } } }],
    ['a schema of something else', { a: { title: { en: 'A' }, schema: { type: 'string' } } }],
    ['a member nobody knows', { a: { title: { en: 'A' }, schema: { type: 'object' }, consent: 'x' } }],
  ])('with %s stop the start', (_, file) => {
    expect(() => parseDetailsTypes(JSON.stringify(file))).toThrow();
  });

  it('name the setting when the file cannot be read', async () => {
    await expect(startServer({ AUTHORIZATION_DETAILS_PATH: '/nowhere.json' })).rejects.toThrow(
      /AUTHORIZATION_DETAILS_PATH/,
    );
  });
});
