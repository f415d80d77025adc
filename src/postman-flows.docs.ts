/** The flows of the Postman collection that run from top to bottom, and check what they see. */
import { organization } from './postman-organization.docs.ts';
import { expecting, type Flow, is, isText, type Step, set, signInAsAdministrator } from './postman-steps.docs.ts';

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

const introspect = (name: string, active: boolean): Step => ({
  name,
  operation: 'introspect',
  auth: 'client',
  body: { token: '{{machineToken}}' },
  test: expecting(200, {
    active: is(String(active)),
    ...(active ? { client_id: is("pm.collectionVariables.get('clientId')"), scope: is("'users:read:any'") } : {}),
  }),
});

const machine: Flow = {
  name: 'A machine',
  description: 'An administrator registers a client; it gets a token, uses it, asks about it and revokes it.',
  steps: [
    signInAsAdministrator,
    {
      name: 'Register a client',
      operation: 'createClient',
      auth: 'administrator',
      body: {
        client_name: 'Nightly report',
        grant_types: ['client_credentials'],
        response_types: [],
        redirect_uris: [],
        scope: 'users:read:any',
      },
      test: [
        ...expecting(201, { client_id: isText, client_secret: isText }),
        set('clientId', 'body.client_id'),
        set('clientSecret', 'body.client_secret'),
      ],
    },
    {
      name: 'Get a token',
      operation: 'token',
      auth: 'client',
      body: { grant_type: 'client_credentials', scope: 'users:read:any' },
      test: [
        ...expecting(200, { access_token: isText, token_type: is("'Bearer'"), scope: is("'users:read:any'") }),
        set('machineToken', 'body.access_token'),
      ],
    },
    {
      name: 'List accounts',
      operation: 'listUsers',
      auth: 'machine',
      test: expecting(200, { data: ".to.be.an('array').and.not.empty" }),
    },
    {
      name: 'What its scope does not name is refused',
      operation: 'createUser',
      auth: 'machine',
      test: expecting(403, { code: is("'missing_permission'") }),
    },
    introspect('Ask about the token', true),
    {
      name: 'Revoke the token',
      operation: 'revoke',
      auth: 'client',
      body: { token: '{{machineToken}}' },
      test: expecting(200),
    },
    introspect('Ask again', false),
    {
      name: 'It is refused from now on',
      operation: 'listUsers',
      auth: 'machine',
      test: expecting(401, { code: is("'invalid_token'") }),
    },
    {
      name: 'Delete the client',
      operation: 'deleteClient',
      auth: 'administrator',
      params: { client_id: '{{clientId}}' },
      test: expecting(204),
    },
  ],
};

const apiKey: Flow = {
  name: 'An API key',
  description: 'Somebody makes a key for a program of theirs, the program uses it, and the key is revoked.',
  steps: [
    signInAsAdministrator,
    {
      name: 'Create a key',
      operation: 'createApiKey',
      auth: 'administrator',
      body: { name: 'deployments', scopes: ['users:read:own'], expiresIn: 3600 },
      test: [
        ...expecting(201, { id: isText, key: '.to.match(/^cs_/)', scopes: is("['users:read:own']") }),
        set('apiKeyId', 'body.id'),
        set('apiKey', 'body.key'),
      ],
    },
    {
      name: 'Use it',
      operation: 'getMe',
      auth: 'apiKey',
      test: expecting(200, { email: is("pm.variables.get('adminEmail')"), permissions: is("['users:read:own']") }),
    },
    {
      name: 'It does no more than its scopes say',
      operation: 'administerUsers',
      auth: 'apiKey',
      test: expecting(403, { code: is("'missing_permission'") }),
    },
    {
      name: 'Revoke it',
      operation: 'revokeApiKey',
      auth: 'administrator',
      params: { id: '{{apiKeyId}}' },
      test: expecting(204),
    },
    {
      name: 'It is refused from now on',
      operation: 'getMe',
      auth: 'apiKey',
      test: expecting(401, { code: is("'invalid_token'") }),
    },
  ],
};

export const flows: readonly Flow[] = [person, machine, apiKey, organization];
