/**
 * Mail domains of organizations. Any organization may claim one; whoever puts the claim’s token into the domain’s DNS has shown that it
 * is theirs, and from then on it is that organization’s alone. People with a verified address there join by themselves, if
 * the organization wants that. DNS is asked again every day: a domain that was sold must not let its buyer’s people in.
 */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, system } from '../audit/logs.commands.ts';
import { AppError, conflict, forbidden, invalid, notFound } from '../errors.ts';
import { type Caller, decideFor } from '../http/caller.ts';
import { randomToken } from '../secrets.ts';
import type { GivenRole, RoleDeps } from './invitations.commands.ts';
import {
  countMailDomains,
  deleteMailDomain,
  findMailDomain,
  insertMailDomain,
  isDomainTaken,
  listStaleDomains,
  lockDomain,
  type MailDomain,
  updateMailDomain,
} from './mail-domains.queries.ts';
import { challengeName, isPublicProvider, normalizeDomain } from './mail-domains.ts';
import { lockOrganization } from './organizations.queries.ts';

export interface MailDomainDeps extends Pick<RoleDeps, 'findRoles' | 'assertMayGive'> {
  db: Db;
  /** The TXT records of a name; none where DNS says that there are none. @throws AppError 503 dns_unavailable */
  lookUpTxt(name: string): Promise<string[]>;
  /** Counts a question to DNS that somebody asks for. @throws AppError 429 */
  limitLookups(organizationId: string): Promise<void>;
  /** Makes members of those who have verified addresses there. */
  joinByDomain(db: Db, actor: Actor, domainId: string): Promise<void>;
}

/** As many as an organization may claim. */
export const mailDomainsMax = 100;
/** How old an answer of DNS may be, and for how long it may say that the record is gone. */
const checkedMs = 86_400_000;
const missingMs = 3 * 86_400_000;
/** How many domains a run of the job asks for, and how many at the same time. */
const batch = 200;
const atOnce = 10;

const target = (organizationId: string) => ({ type: 'organization', id: organizationId });

const badField = (field: string, code: string, message: string) =>
  invalid('invalid_request', 'The request is not valid', { fields: [{ field, code, message }] });

/** @throws AppError 404 mail_domain_not_found */
const requireDomain = async (db: Db, organizationId: string, id: string): Promise<MailDomain> => {
  const domain = await findMailDomain(db, organizationId, id);
  if (!domain) throw notFound('mail_domain');
  return domain;
};

/** The role that those who join are given: whoever says so must be able to give it. @throws AppError 400, 403 as `assertMayGive` */
const requireRole = async (
  deps: MailDomainDeps,
  db: Db,
  caller: Caller,
  organizationId: string,
  name: string | null,
): Promise<GivenRole | undefined> => {
  if (name === null) return undefined;
  const [role] = await deps.findRoles(db, { names: [name] });
  if (!role) throw badField('role', 'role_not_found', 'is no role');
  const { permissions, rank } = role;
  await deps.assertMayGive(db, caller, { permissions, rank, organizationId });
  return role;
};

export interface MailDomainInput {
  organizationId: string;
  domain: string;
  autoJoin: boolean;
  role: string | null;
}

/**
 * @throws AppError 400 for what is no domain or a public provider’s, 403 as `assertMayGive`, 404 organization_not_found,
 * 409 mail_domain_exists, _taken or _limit_reached
 */
export const claimMailDomain = (
  deps: MailDomainDeps,
  actor: Actor,
  caller: Caller,
  { organizationId, domain: typed, autoJoin, role: name }: MailDomainInput,
): Promise<MailDomain> => {
  const domain = normalizeDomain(typed);
  if (!domain) throw badField('domain', 'invalid_domain', 'must be a domain such as example.com');
  if (isPublicProvider(domain)) throw badField('domain', 'public_provider', 'is one where anybody gets an address');
  return deps.db.transaction(async (db) => {
    // So that of many claims at once no more than the limit get through.
    if (!(await lockOrganization(db, organizationId))) throw notFound('organization');
    const role = await requireRole(deps, db, caller, organizationId, name);
    if (await isDomainTaken(db, organizationId, domain)) throw taken();
    if ((await countMailDomains(db, organizationId)) >= mailDomainsMax)
      throw conflict('mail_domain_limit_reached', `An organization claims ${mailDomainsMax} mail domains at most`);
    const row = { id: uuid(), organizationId, domain, token: randomToken(), autoJoin, roleId: role?.id ?? null };
    if (!(await insertMailDomain(db, row))) throw conflict('mail_domain_exists', 'The domain is claimed already');
    const meta = { domain: row.id, autoJoin, ...(role ? { role: role.name } : {}) };
    await recordEvent(db, actor, { action: 'organization.claim_domain', target: target(organizationId), meta });
    return requireDomain(db, organizationId, row.id);
  });
};

export interface MailDomainChange {
  organizationId: string;
  id: string;
  autoJoin?: boolean | undefined;
  role?: string | null | undefined;
}

/** Changes what becomes of people with an address there. @throws AppError 400, 403 as `assertMayGive`, 404 */
export const changeMailDomain = (
  deps: MailDomainDeps,
  actor: Actor,
  caller: Caller,
  { organizationId, id, autoJoin, role: name }: MailDomainChange,
): Promise<MailDomain> =>
  transact(deps.db, async (db) => {
    await lockDomain(db, (await requireDomain(db, organizationId, id)).domain);
    const before = await requireDomain(db, organizationId, id);
    // Whoever has people join has given them the role that there was, too.
    const wanted = name === undefined ? before.role : name;
    const joins = autoJoin ?? before.autoJoin;
    const begins = joins && (!before.autoJoin || wanted !== before.role);
    const role =
      begins || wanted !== before.role ? await requireRole(deps, db, caller, organizationId, wanted) : undefined;
    await updateMailDomain(db, id, {
      ...(autoJoin === undefined ? {} : { autoJoin }),
      ...(wanted === before.role ? {} : { roleId: role?.id ?? null }),
    });
    const meta = { domain: id, autoJoin: joins, role: wanted };
    await recordEvent(db, actor, { action: 'organization.update_domain', target: target(organizationId), meta });
    if (joins) await deps.joinByDomain(db, actor, id);
    return requireDomain(db, organizationId, id);
  });

const taken = () => conflict('mail_domain_taken', 'The domain is another organization’s');

const isTaken = (error: unknown): boolean =>
  (error as { constraint?: unknown }).constraint === 'organization_domains_domain_key';

/**
 * Makes the domain the organization’s: DNS holds the token, or somebody who may do everything to organizations says so.
 * Of two organizations at the same time one gets it.
 * @throws AppError 403 missing_permission by hand, 404, 409 mail_domain_not_verified or _taken, 429, 503 dns_unavailable
 */
export const verifyMailDomain = async (
  deps: MailDomainDeps,
  actor: Actor,
  caller: Caller,
  { organizationId, id, byHand }: { organizationId: string; id: string; byHand: boolean },
): Promise<MailDomain> => {
  const permission = 'organizations:write:any';
  if (byHand && !decideFor(caller, permission).allowed)
    throw forbidden('missing_permission', `This needs the permission ${permission}`, { permission });
  const { domain, token } = await requireDomain(deps.db, organizationId, id);
  if (!byHand) {
    await deps.limitLookups(organizationId);
    if (!(await deps.lookUpTxt(challengeName(domain))).includes(token))
      throw conflict('mail_domain_not_verified', `There is no such TXT record at ${challengeName(domain)}`);
  }
  return transact(deps.db, async (db) => {
    await lockDomain(db, domain);
    const before = await requireDomain(db, organizationId, id);
    const now = new Date();
    const verified = {
      verifiedAt: before.verifiedAt ?? now,
      verifiedByHand: byHand,
      checkedAt: now,
      missingSince: null,
    };
    await updateMailDomain(db, id, verified);
    const meta = { domain: id, byHand };
    await recordEvent(db, actor, { action: 'organization.verify_domain', target: target(organizationId), meta });
    await deps.joinByDomain(db, actor, id);
    return requireDomain(db, organizationId, id);
  }).catch((error: unknown) => {
    throw isTaken(error) ? taken() : error;
  });
};

/** Gives the domain up. Those who have joined by it stay. @throws AppError 404 */
export const releaseMailDomain = (
  { db }: Pick<MailDomainDeps, 'db'>,
  actor: Actor,
  { organizationId, id }: { organizationId: string; id: string },
): Promise<void> =>
  db.transaction(async (db) => {
    await requireDomain(db, organizationId, id);
    if (!(await deleteMailDomain(db, id))) return;
    const meta = { domain: id };
    await recordEvent(db, actor, { action: 'organization.release_domain', target: target(organizationId), meta });
  });

/** What DNS says of a domain that was verified by it. A failure to answer says nothing. */
const check = async ({ db, lookUpTxt }: MailDomainDeps, one: MailDomain): Promise<'there' | 'missing' | 'lost'> => {
  const found = await lookUpTxt(challengeName(one.domain)).then(
    (records) => records.includes(one.token),
    (error: unknown) => {
      if (error instanceof AppError && error.code === 'dns_unavailable') return undefined;
      throw error;
    },
  );
  const now = new Date();
  if (found !== false) {
    await updateMailDomain(db, one.id, { checkedAt: now, ...(found ? { missingSince: null } : {}) });
    return 'there';
  }
  const missingSince = one.missingSince ?? now;
  if (now.getTime() - missingSince.getTime() < missingMs) {
    await updateMailDomain(db, one.id, { checkedAt: now, missingSince });
    return 'missing';
  }
  await db.transaction(async (db) => {
    await lockDomain(db, one.domain);
    await updateMailDomain(db, one.id, { verifiedAt: null, checkedAt: now, missingSince });
    const meta = { domain: one.id };
    await recordEvent(db, system, { action: 'organization.lose_domain', target: target(one.organizationId), meta });
  });
  return 'lost';
};

/**
 * Asks DNS again for domains that it was not asked for in a day. One whose record has been gone for three days is the
 * organization’s no more; its people stay. @returns how many were lost
 */
export const recheckMailDomains = async (deps: MailDomainDeps): Promise<number> => {
  const stale = await listStaleDomains(deps.db, new Date(Date.now() - checkedMs), batch);
  let lost = 0;
  for (let at = 0; at < stale.length; at += atOnce) {
    const states = await Promise.all(stale.slice(at, at + atOnce).map((one) => check(deps, one)));
    lost += states.filter((state) => state === 'lost').length;
  }
  return lost;
};
