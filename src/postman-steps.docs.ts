/** What the flows of the Postman collection are made of. */
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
  organizationId: '',
  memberId: '',
  roleName: '',
  roleGrantId: '',
} as const;

/** A line that keeps the value of an expression. */
export const set = (name: keyof typeof variables, value: string) => `pm.collectionVariables.set('${name}', ${value});`;

/** The status, and that a member is what an expression says it is. */
export const expecting = (status: number, members: Readonly<Record<string, string>> = {}): string[] => [
  `pm.test('answers ${status}', () => pm.response.to.have.status(${status}));`,
  ...(Object.keys(members).length ? ['const body = pm.response.json();'] : []),
  ...Object.entries(members).map(([path, check]) => `pm.test('${path}', () => pm.expect(body.${path})${check});`),
];
/** What `expecting` may want of a member. */
export const isText = ".to.be.a('string').and.not.empty";
export const is = (value: string) => `.to.eql(${value})`;

/** Signing in as the administrator, whom `npm run create-admin` or the set-up page made. */
export const signInAsAdministrator: Step = {
  name: 'Sign in as the administrator',
  operation: 'login',
  auth: 'none',
  body: { email: '{{adminEmail}}', password: '{{adminPassword}}' },
  test: [
    ...expecting(200, { accessToken: isText, 'user.role': is("'super_admin'") }),
    set('adminToken', 'body.accessToken'),
  ],
};
