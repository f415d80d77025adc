/** The flow of the Postman collection around an organization: who belongs to it, a role inside it, and decisions. */
import { expecting, type Flow, is, isText, type Step, set, signInAsAdministrator } from './postman-steps.docs.ts';

const ask = (name: string, allowed: boolean): Step => ({
  name,
  operation: 'checkAuthorization',
  auth: 'administrator',
  body: {
    checks: [
      {
        subject: '{{memberId}}',
        action: 'read',
        resource: { type: 'invoices', id: '42', organization: '{{organizationId}}' },
      },
    ],
  },
  test: expecting(200, { 'results[0].allowed': is(String(allowed)) }),
});

export const organization: Flow = {
  name: 'An organization',
  description:
    'Somebody belongs to it, another is invited, and what a role permits that was given inside it counts there at once, and until it is taken back.',
  steps: [
    signInAsAdministrator,
    {
      name: 'Make an organization',
      operation: 'createOrganization',
      auth: 'administrator',
      body: { name: 'Analytical Engines', kind: 'company' },
      test: [...expecting(201, { id: isText, kind: is("'company'") }), set('organizationId', 'body.id')],
    },
    {
      name: 'Make an account in it',
      operation: 'createUser',
      auth: 'administrator',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the script's own template
      before: [set('email', '`grace.${Date.now()}@example.com`'), set('roleName', '`bookkeeper ${Date.now()}`')],
      body: {
        email: '{{email}}',
        name: 'Grace Hopper',
        password: '{{password}}',
        organizationId: '{{organizationId}}',
      },
      test: [...expecting(201, { id: isText }), set('memberId', 'body.id')],
    },
    {
      name: 'See who belongs to it',
      operation: 'listOrganizationMembers',
      auth: 'administrator',
      params: { id: '{{organizationId}}' },
      test: expecting(200, { 'data[0].userId': is("pm.collectionVariables.get('memberId')") }),
    },
    {
      name: 'Invite somebody else by mail',
      operation: 'invite',
      auth: 'administrator',
      params: { id: '{{organizationId}}' },
      body: { email: 'charles.{{email}}' },
      test: expecting(201, { state: is("'pending'") }),
    },
    {
      name: 'Make a role',
      operation: 'createRole',
      auth: 'administrator',
      body: { name: '{{roleName}}', permissions: ['invoices:read:any'] },
      test: expecting(201, { permissions: is("['invoices:read:any']") }),
    },
    ask('Nothing is allowed by default', false),
    {
      name: 'Give the role, in the organization',
      operation: 'grantRoleToUser',
      auth: 'administrator',
      params: { id: '{{memberId}}' },
      body: { role: '{{roleName}}', organizationId: '{{organizationId}}' },
      test: [...expecting(201, { id: isText }), set('roleGrantId', 'body.id')],
    },
    ask('Now it is allowed', true),
    {
      name: 'Take the role back',
      operation: 'revokeRoleOfUser',
      auth: 'administrator',
      params: { id: '{{memberId}}', grantId: '{{roleGrantId}}' },
      test: expecting(204),
    },
    ask('At once it is not', false),
    {
      name: 'Delete the role',
      operation: 'deleteRole',
      auth: 'administrator',
      params: { id: '{{roleName}}' },
      test: expecting(204),
    },
  ],
};
