/** The flows of the Postman collection that run from top to bottom, and check what they see. */
import type { Auth } from './postman.docs.ts';

/** One request. `operation` is an operationId; `get` a path of the development server that is no part of the API. */
export type Step = {
  name: string;
  auth?: Auth;
  params?: Readonly<Record<string, string>>;
  body?: Readonly<Record<string, unknown>>;
  /** Scripts, line by line. */
  before?: readonly string[];
  test: readonly string[];
} & ({ operation: string } | { get: string });

export interface Flow {
  name: string;
  description: string;
  steps: readonly Step[];
}

/** What whoever runs the collection may set, and what the requests hand on. */
export const variables = {
  baseUrl: 'http://localhost:3000',
  adminEmail: 'admin@example.com',
  adminPassword: 'correct horse battery staple',
  email: '',
  password: 'seven wonders of a quiet harbour',
  verificationToken: '',
  mailTries: '0',
  accessToken: '',
  refreshToken: '',
  adminToken: '',
  clientId: '',
  clientSecret: '',
  machineToken: '',
  apiKeyId: '',
  apiKey: '',
} as const;

const set = (name: keyof typeof variables, value: string) => `pm.collectionVariables.set('${name}', ${value});`;

/** The status, and that a member is what an expression says it is. */
const expecting = (status: number, members: Readonly<Record<string, string>> = {}): string[] => [
  `pm.test('answers ${status}', () => pm.response.to.have.status(${status}));`,
  ...(Object.keys(members).length ? ['const body = pm.response.json();'] : []),
  ...Object.entries(members).map(([path, check]) => `pm.test('${path}', () => pm.expect(body.${path})${check});`),
];
const isText = ".to.be.a('string').and.not.empty";
const is = (value: string) => `.to.eql(${value})`;

const person: Flow = {
  name: 'A person',
  description:
    'Registers, confirms the address, signs in, stays signed in, and signs out. The mail is read from the development mailbox.',
  steps: [
    {
      name: 'Register',
      operation: 'register',
      auth: 'none',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the script's own template
      before: [set('email', '`ada.${Date.now()}@example.com`'), set('mailTries', "'0'")],
      body: { email: '{{email}}', password: '{{password}}', name: 'Ada Lovelace' },
      test: expecting(201, { verificationSent: is('true') }),
    },
    {
      name: 'Read the mail',
      get: '/dev/mail.json',
      before: ['// The mail is sent behind the answer.', 'setTimeout(() => {}, 300);'],
      test: [
        "const mail = pm.response.json().find(({ to }) => to === pm.collectionVariables.get('email'));",
        "const tries = Number(pm.collectionVariables.get('mailTries')) + 1;",
        set('mailTries', 'String(tries)'),
        'if (!mail && tries < 20) {',
        '  pm.execution.setNextRequest(pm.info.requestName);',
        '} else {',
        "  pm.test('the mail has a link', () => pm.expect(mail.links.join(' ')).to.match(/\\/verify\\?token=/));",
        '  const link = mail.links.find((one) => /\\/verify\\?token=/.test(one));',
        `  ${set('verificationToken', "decodeURIComponent(link.split('token=')[1].split('&')[0])")}`,
        '}',
      ],
    },
    {
      name: 'Confirm the address',
      operation: 'verifyEmail',
      auth: 'none',
      body: { token: '{{verificationToken}}' },
      test: expecting(200, { verified: is('true') }),
    },
    {
      name: 'The link works once',
      operation: 'verifyEmail',
      auth: 'none',
      body: { token: '{{verificationToken}}' },
      test: expecting(400, { code: is("'invalid_token'") }),
    },
    {
      name: 'Sign in',
      operation: 'login',
      auth: 'none',
      body: { email: '{{email}}', password: '{{password}}' },
      test: [
        ...expecting(200, {
          accessToken: isText,
          refreshToken: isText,
          token_type: is("'Bearer'"),
          'user.email': is("pm.collectionVariables.get('email')"),
        }),
        set('accessToken', 'body.accessToken'),
        set('refreshToken', 'body.refreshToken'),
      ],
    },
    {
      name: 'Who am I?',
      operation: 'getMe',
      auth: 'person',
      test: expecting(200, { kind: is("'user'"), email: is("pm.collectionVariables.get('email')") }),
    },
    {
      name: 'Get new tokens',
      operation: 'refresh',
      auth: 'none',
      body: { refreshToken: '{{refreshToken}}' },
      test: [
        ...expecting(200, {
          accessToken: isText,
          refreshToken: ".to.be.a('string').and.not.eql(pm.collectionVariables.get('refreshToken'))",
        }),
        set('accessToken', 'body.accessToken'),
        set('refreshToken', 'body.refreshToken'),
      ],
    },
    {
      name: 'Ask whether the token is valid',
      operation: 'validateToken',
      auth: 'none',
      body: { token: '{{accessToken}}' },
      test: expecting(200, { valid: is('true'), 'user.email': is("pm.collectionVariables.get('email')") }),
    },
    {
      name: 'Sign out',
      operation: 'logout',
      auth: 'none',
      body: { refreshToken: '{{refreshToken}}' },
      test: expecting(204),
    },
    {
      name: 'The access token is refused from now on',
      operation: 'getMe',
      auth: 'person',
      test: expecting(401, { code: is("'invalid_token'") }),
    },
    {
      name: 'So it is said to whoever asks',
      operation: 'validateToken',
      auth: 'none',
      body: { token: '{{accessToken}}' },
      test: expecting(200, { valid: is('false'), user: is('null') }),
    },
    {
      name: 'The refresh token is refused too',
      operation: 'refresh',
      auth: 'none',
      body: { refreshToken: '{{refreshToken}}' },
      test: expecting(401, { code: is("'invalid_refresh_token'") }),
    },
  ],
};

export const flows: readonly Flow[] = [person];
