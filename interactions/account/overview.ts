/** `/account`: who one is here, and what one may want to see to. */
import type Router from '@koa/router';
import type { Db } from '../../db/connect.ts';
import { requestsPath } from '../../src/auth/backchannel.commands.ts';
import { countWaiting } from '../../src/auth/backchannel.queries.ts';
import { findFactors, hasStrongFactor } from '../../src/mfa/factors.queries.ts';
import { listInvitationsTo } from '../../src/organizations/invitations.queries.ts';
import { listConsents, listSessions } from '../../src/sessions/sessions.queries.ts';
import type { AccountView, Attention } from '../account-props.ts';
import type { Pages, Visitor } from '../pages.ts';
import { invitationsPath, navigation, profilePath, servedPages } from './navigation.ts';
import type { AccountFrame } from './signed-in.ts';

/** Fewer than these are few: one is used up in a blink. */
const backupCodesFew = 3;

/** More are not counted. */
const invitationsMany = 20;

const notices = new Set(['accountCreated']);

const hrefOf = (key: string): string => navigation.find((entry) => entry.key === key)?.href ?? '';

const counted = (count: number) => (count ? { text: 'count', values: { count } } : { text: 'none' });

export const mountOverview = (
  router: Router,
  { signedIn }: AccountFrame,
  { db, pages }: { db: Db; pages: Pages },
): void => {
  const attention = async ({ user }: Visitor): Promise<Attention[]> => {
    const factors = await findFactors(db, user.id);
    const waiting = await countWaiting(db, user.id);
    const invited = (await listInvitationsTo(db, user.id, invitationsMany)).length;
    const served = new Set(servedPages(router).map(({ key }) => key));
    const items: (Attention | false)[] = [
      waiting > 0 && { key: 'requests', href: requestsPath, values: { count: waiting } },
      invited > 0 && { key: 'invitations', href: invitationsPath, values: { count: invited } },
      user.emailVerifiedAt === null && { key: 'unverified', href: profilePath },
      !hasStrongFactor(factors) && served.has('two-step') && { key: 'noSecondFactor', href: hrefOf('two-step') },
      hasStrongFactor(factors) &&
        served.has('two-step') &&
        factors.backupCodes < backupCodesFew && {
          key: factors.backupCodes ? 'fewBackupCodes' : 'noBackupCodes',
          href: hrefOf('two-step'),
          values: { count: factors.backupCodes },
        },
    ];
    return items.filter((item) => item !== false);
  };

  const facts = async ({ user }: Visitor): Promise<AccountView['facts']> => {
    const { totp, passkeys } = await findFactors(db, user.id);
    const all: Record<string, Omit<AccountView['facts'][number], 'key' | 'href'>> = {
      password: user.passwordHash
        ? { text: 'passwordSet', ...(user.passwordChangedAt ? { at: user.passwordChangedAt } : {}) }
        : { text: 'none' },
      'two-step': { text: totp ? 'on' : 'off' },
      passkeys: counted(passkeys),
      sessions: counted((await listSessions(db, user.id)).length),
      applications: counted((await listConsents(db, user.id)).length),
    };
    return servedPages(router).flatMap(({ key, href }) => (all[key] ? [{ key, href, ...all[key] }] : []));
  };

  router.get(
    '/',
    signedIn(async (ctx, visitor) => {
      const { user } = visitor;
      const notice = String(ctx.query.notice ?? '');
      pages.show(
        ctx,
        'account',
        {
          profile: { name: user.name, email: user.email, emailVerified: user.emailVerifiedAt !== null },
          attention: await attention(visitor),
          facts: await facts(visitor),
          ...(notices.has(notice) ? { notice } : {}),
          problems: [],
        },
        { signedInAs: user.email },
      );
    }),
  );
};
