/** How people come into organizations, as `app.ts` puts it together: invitations, mail domains, and what they need of roles and DNS. */
import { createTxtLookup } from '../adapters/dns.ts';
import type { Jobs } from '../adapters/jobs.ts';
import type { RateLimits } from '../adapters/rate-limits.ts';
import type { AccountDeps } from './auth/accounts.commands.ts';
import type { Config } from './config.ts';
import type { Route } from './http/route.ts';
import type { Log } from './log.ts';
import type { InvitationDeps, RoleDeps } from './organizations/invitations.commands.ts';
import { invitationRoutes } from './organizations/invitations.routes.ts';
import { type MailDomainDeps, recheckMailDomains } from './organizations/mail-domains.commands.ts';
import { mailDomainRoutes } from './organizations/mail-domains.routes.ts';
import { findUserAccess } from './roles/access.queries.ts';
import { joinByDomain } from './roles/joining.commands.ts';
import { findGivenRoles, giveMemberRoles } from './roles/member-roles.queries.ts';
import { assertMayGive } from './roles/passing-on.ts';

export interface Joining {
  invitations: InvitationDeps;
  domains: MailDomainDeps;
}

/** Somebody with all that they may do, as if they had signed in here. */
const findPerson: InvitationDeps['findPerson'] = async (db, userId) => {
  const access = await findUserAccess(db, userId);
  return access && { kind: 'user', id: userId, ...access, sessionUid: '', firstParty: true };
};

export const createJoining = (
  config: Pick<Config, 'INVITATION_TTL' | 'DNS_SERVERS'>,
  { db, issuer, queueMail }: Pick<AccountDeps, 'db' | 'issuer' | 'queueMail'>,
  limits: RateLimits,
): Joining => {
  const roles: RoleDeps = { findRoles: findGivenRoles, assertMayGive, giveRoles: giveMemberRoles };
  return {
    invitations: {
      ...roles,
      ...{ db, issuer, queueMail, findPerson },
      ttlSeconds: config.INVITATION_TTL,
      limitInvitations: async ({ userId, organizationId, email }) => {
        await limits.consume('invitationsPerson', userId);
        await limits.consume('invitationsOrganization', organizationId);
        await limits.consume('invitationsPair', `${organizationId} ${email}`);
        return !(await limits.take('mailRecipient', `invitation ${email}`)).exceeded;
      },
    },
    domains: {
      ...{ ...roles, db, joinByDomain },
      lookUpTxt: createTxtLookup(config.DNS_SERVERS),
      limitLookups: (organizationId) => limits.consume('domainLookups', organizationId),
    },
  };
};

export const joiningRoutes = ({ invitations, domains }: Joining): Route[] => [
  ...invitationRoutes(invitations),
  ...mailDomainRoutes(domains),
];

/** Has one of all replicas ask DNS again, every hour for those whose day is over. */
export const scheduleDomainChecks = ({ domains }: Joining, jobs: Pick<Jobs, 'every'>, log: Log): Promise<void> =>
  jobs.every('mail-domains', 3600, async () => {
    const lost = await recheckMailDomains(domains);
    if (lost) log.warn({ lost }, 'mail domains are verified no more: their DNS records are gone');
  });
