/** Every operation's place in the matrix; see `authorization-matrix.ts`. */
import type { Row } from './authorization-matrix.ts';
import { groupRows } from './authorization-rows-groups.ts';
import { organizationRows } from './authorization-rows-organizations.ts';
import { roleRows } from './authorization-rows-roles.ts';
import { userRows } from './authorization-rows-users.ts';

/** About the caller, or about things that lie in no organization: whoever may do it may do it everywhere, or to their own. */
const none = [
  // Accounts and signing in
  ...['register', 'verifyEmail', 'resendVerification', 'forgotPassword', 'resetPassword', 'changePassword'],
  ...['sendCode', 'verifyCode', 'reportSmsStatus', 'exportMyData', 'listMyActivity', 'listMySignIns'],
  ...['login', 'finishLogin', 'refresh', 'logout', 'getMe', 'validateToken', 'validateBearer'],
  ...['requestMagicLink', 'verifyMagicLink', 'askPasskeySignIn', 'signInWithPasskey', 'redeemSocialCode'],
  ...[
    'listSocialProviders',
    'listOwnIdentities',
    'deleteOwnIdentity',
    'enrolApp',
    'enrolPasskey',
    'confirmEnrolledApp',
    'askEnrolledPasskey',
  ],
  // One's own factors, sessions and requests
  ...[
    'enableTotp',
    'disableTotp',
    'validateTotp',
    'verifyTotp',
    'countBackupCodes',
    'createBackupCodes',
    'resetFactors',
  ],
  ...['listFactorDevices', 'renameFactorDevice', 'removeFactorDevice', 'askPasskey', 'addPasskey', 'listPasskeys'],
  ...['renamePasskey', 'removePasskey', 'listRequests', 'approveRequest', 'denyRequest'],
  ...['listSessions', 'endSession', 'endOtherSessions'],
  // Machines and the operator's things
  ...['createApiKey', 'listApiKeys', 'readApiKey', 'revokeApiKey'],
  ...[
    'createClient',
    'listClients',
    'readClient',
    'replaceClient',
    'rotateClientSecret',
    'deleteClient',
    'unblockClient',
  ],
  ...['createResourceServer', 'listResourceServers', 'readResourceServer', 'replaceResourceServer'],
  ...['deleteResourceServer', 'listSoftwarePolicies', 'createSoftwarePolicy', 'replaceSoftwarePolicy'],
  ...['deleteSoftwarePolicy', 'listInitialAccessTokens', 'createInitialAccessToken', 'deleteInitialAccessToken'],
  ...['createIdentityProvider', 'listIdentityProviders', 'getIdentityProvider', 'replaceIdentityProvider'],
  ...['listPolicies', 'listPolicyTemplates', 'getPolicy', 'createPolicy', 'createPolicyVersion', 'activatePolicy'],
  ...[
    'deactivatePolicy',
    'deletePolicy',
    'dryRunPolicy',
    'checkAuthorization',
    'authzenEvaluation',
    'authzenEvaluations',
  ],
  ...['deleteIdentityProvider', 'listKeys', 'rotateKeys', 'listAuditLogs', 'exportAuditLogs', 'getAuditStatistics'],
];

export const authorizationRows: Readonly<Record<string, Row>> = {
  ...Object.fromEntries(none.map((id) => [id, 'none' as const])),
  ...userRows,
  ...organizationRows,
  ...groupRows,
  ...roleRows,
};
