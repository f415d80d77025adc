/**
 * Who somebody is here whom a provider has signed in. Nobody gets into an account that is there already by what a provider says
 * of an address: they sign in to it once and connect it. Whether an address has an account is told to nobody who has not proven
 * that the address is theirs.
 */
import { v7 as uuid } from 'uuid';
import type { Db } from '../../db/connect.ts';
import { transact } from '../../db/transact.ts';
import { type Actor, recordEvent, userTarget } from '../audit/logs.commands.ts';
import { type AccountDeps, linkTo } from '../auth/accounts.commands.ts';
import { actionMinutes, createActionToken } from '../auth/action-tokens.commands.ts';
import { joinByAddress } from '../roles/joining.commands.ts';
import { sealPii } from '../users/pii.ts';
import {
  findUser,
  findUserByEmail,
  insertUser,
  normalizeEmail,
  type User,
  updateUser,
} from '../users/users.queries.ts';
import type { FederationReason } from './federation-error.ts';
import { type IdentityDeps, ranksTooHigh, takeOver } from './identities.commands.ts';
import { findIdentity, insertIdentity } from './identities.queries.ts';
import type { IdentityProvider } from './identity-providers.ts';
import type { UpstreamPerson } from './profiles.ts';

export interface PeopleDeps extends IdentityDeps, Pick<AccountDeps, 'limitMail' | 'limitRegistrations'> {
  requireVerifiedEmail: boolean;
  /** Counts what became of it, for `federated_sign_ins_total`. */
  countFederation(outcome: Recognition['kind'] | FederationReason): void;
}

export type Recognition =
  /** Theirs; what else is needed is for `proceed` to say. */
  | { kind: 'known'; user: User }
  /** What the provider did not tell. */
  | { kind: 'profile'; missing: ('name' | 'email')[] }
  /** Their address has an account: they sign in to it to connect it. */
  | { kind: 'confirm'; userId: string; email: string }
  /** A mail says how it goes on; the same for an address with an account and for one without. */
  | { kind: 'mailed'; email: string }
  /** There is no account, and there will be none; or it is one that nobody gets into this way. */
  | { kind: 'refused' };

/** What somebody has typed in that the provider did not tell, and their browser. */
export interface Typed {
  name?: string | undefined;
  email?: string | undefined;
  locale: string | null;
  /** A secret that the browser keeps; see `verifyEmail`. */
  browser?: string | undefined;
}

const mailVerification = async (
  deps: PeopleDeps,
  db: Db,
  user: Pick<User, 'id' | 'email' | 'name' | 'locale'>,
  browser?: string,
) => {
  const token = await createActionToken(db, 'verify-email', user.id, browser);
  await deps.queueMail(db, user, {
    mail: 'verify-email',
    props: { name: user.name, link: linkTo(deps.issuer, 'verify', token), minutes: actionMinutes['verify-email'] },
  });
};

/** Tells whoever has the mailbox that the address has an account; as registration does. */
const mailHolder = async (deps: PeopleDeps, db: Db, actor: Actor, holder: User, mayMail: boolean): Promise<void> => {
  const props = { name: holder.name, signInLink: `${deps.issuer}/account`, resetLink: `${deps.issuer}/forgot` };
  if (mayMail) await deps.queueMail(db, holder, { mail: 'already-registered', props });
  await recordEvent(db, actor, { action: 'user.register_again', target: userTarget(holder.id) });
};

/** Somebody else was quicker: a callback of the same person, or a registration of the same address. */
class Raced extends Error {}

const createAccount = async (
  deps: PeopleDeps,
  db: Db,
  actor: Actor,
  {
    person,
    user,
    locale,
  }: { person: UpstreamPerson; user: Pick<User, 'id' | 'email' | 'name'>; locale: string | null },
): Promise<boolean> => {
  const { emailProven, providerId, issuer, subject, firstProfile } = person;
  const proven = emailProven && person.email === user.email;
  const { locale: upstreamLocale, name: _name, ...pii } = firstProfile;
  const row = { ...user, locale: upstreamLocale ?? locale, passwordHash: null, role: 'user' };
  if (!(await insertUser(db, { ...row, emailVerifiedAt: proven ? new Date() : null }))) return false;
  const identity = { providerId, issuer, subject, userId: user.id, email: person.email ?? null, emailProven };
  if (!(await insertIdentity(db, identity))) throw new Raced();
  if (Object.keys(pii).length) await updateUser(db, user.id, sealPii(deps.secrets, user.id, pii));
  const meta = { provider: providerId };
  await recordEvent(db, actor, { action: 'user.register', target: userTarget(user.id), meta });
  if (proven) await joinByAddress(db, { ...actor, type: 'user', id: user.id }, [user.id]);
  return true;
};

/** Makes an account of somebody whose address the provider proves. @throws Raced */
const welcome = async (deps: PeopleDeps, actor: Actor, input: Parameters<typeof createAccount>[3]): Promise<User> => {
  await deps.limitRegistrations(actor.address ?? '');
  return transact(deps.db, async (db) => {
    if (!(await createAccount(deps, db, actor, input))) throw new Raced();
    return (await findUser(db, input.user.id)) as User;
  });
};

/** Likewise of somebody whose address is not proven: whatever it has or has not, a mail goes there and the answer is the same. */
const registerUnproven = async (
  deps: PeopleDeps,
  actor: Actor,
  { browser, ...input }: Parameters<typeof createAccount>[3] & { browser: string | undefined },
): Promise<void> => {
  const { user, locale } = input;
  await deps.limitRegistrations(actor.address ?? '');
  const mayMail = await deps.limitMail('registration', user.email, actor.address ?? '');
  await transact(deps.db, async (db) => {
    if (await createAccount(deps, db, actor, input)) {
      if (mayMail) await mailVerification(deps, db, { ...user, locale }, browser);
    } else {
      await mailHolder(deps, db, actor, (await findUserByEmail(db, user.email)) as User, mayMail);
    }
  });
};

const recognizeKnown = async (
  deps: PeopleDeps,
  actor: Actor,
  provider: IdentityProvider,
  person: UpstreamPerson,
  browser: string | undefined,
): Promise<Recognition | undefined> => {
  const { providerId, issuer, subject } = person;
  const identity = await findIdentity(deps.db, { providerId, issuer, subject });
  const user = identity && (await findUser(deps.db, identity.userId));
  if (!identity || !user) return undefined;
  if (user.status !== 'active' || (await ranksTooHigh(deps.db, provider, user.id))) return { kind: 'refused' };
  if (deps.requireVerifiedEmail && !user.emailVerifiedAt) {
    if (await deps.limitMail('verification', user.email, actor.address ?? ''))
      await transact(deps.db, (db) => mailVerification(deps, db, user, browser));
    return { kind: 'mailed', email: user.email };
  }
  await transact(deps.db, (db) =>
    takeOver(deps, db, { ...actor, type: 'user', id: user.id }, { provider, identity, person }),
  );
  const current = await findUser(deps.db, user.id);
  return current?.status === 'active' ? { kind: 'known', user: current } : { kind: 'refused' };
};

const recognizeOnce = async (
  deps: PeopleDeps,
  actor: Actor,
  { provider, person, typed }: { provider: IdentityProvider; person: UpstreamPerson; typed: Typed },
): Promise<Recognition> => {
  const known = await recognizeKnown(deps, actor, provider, person, typed.browser);
  if (known) return known;
  const { sign_up: signsUp } = provider.metadata;
  const email = person.email ?? (typed.email === undefined ? undefined : normalizeEmail(typed.email));
  const name = person.name ?? typed.name;
  const holder = person.emailProven && email !== undefined ? await findUserByEmail(deps.db, email) : undefined;
  if (holder) {
    // They have the mailbox, so they may know. An account whose address nobody has confirmed may be anybody's.
    if (holder.status === 'active' && holder.emailVerifiedAt)
      return { kind: 'confirm', userId: holder.id, email: holder.email };
    const mayMail = await deps.limitMail('registration', holder.email, actor.address ?? '');
    await transact(deps.db, (db) => mailHolder(deps, db, actor, holder, mayMail));
    return { kind: 'mailed', email: holder.email };
  }
  if (!signsUp) return { kind: 'refused' };
  if (email === undefined || name === undefined)
    return {
      kind: 'profile',
      missing: [...(name === undefined ? ['name' as const] : []), ...(email === undefined ? ['email' as const] : [])],
    };
  const user = { id: uuid(), email, name };
  const input = { person, user, locale: typed.locale };
  if (!person.emailProven) {
    await registerUnproven(deps, actor, { ...input, browser: typed.browser });
    return { kind: 'mailed', email };
  }
  await welcome(deps, actor, input);
  // Found by what was just written: roles and profile are taken over on the same way as ever.
  return (await recognizeKnown(deps, actor, provider, person, typed.browser)) ?? { kind: 'refused' };
};

/**
 * Says who somebody is here, and makes an account if they may have one.
 * @throws AppError 429
 */
export const recognize = async (
  deps: PeopleDeps,
  actor: Actor,
  input: { provider: IdentityProvider; person: UpstreamPerson; typed: Typed },
): Promise<Recognition> => {
  const recognition = await recognizeOnce(deps, actor, input).catch((error: unknown) => {
    if (!(error instanceof Raced)) throw error;
    // What the other has made is there now.
    return recognizeOnce(deps, actor, input);
  });
  deps.countFederation(recognition.kind);
  return recognition;
};
