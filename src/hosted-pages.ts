/** The hosted pages, as `app.ts` puts them together. */
import type Koa from 'koa';
import compose from 'koa-compose';
import type { Provider } from 'oidc-provider';
import type { DevMailbox } from '../adapters/mailer.ts';
import type { Db } from '../db/connect.ts';
import { account } from '../interactions/account/account.ts';
import { mountInvitations } from '../interactions/account/invitations.ts';
import { mountLinked } from '../interactions/account/linked.ts';
import { mountPasskeys } from '../interactions/account/passkeys.ts';
import { mountTwoStep } from '../interactions/account/two-step.ts';
import { consent } from '../interactions/consent.ts';
import { create } from '../interactions/create.ts';
import { deviceOutcomes } from '../interactions/device.ts';
import { federation } from '../interactions/federation.ts';
import { createFederationCookie } from '../interactions/federation-cookie.ts';
import { home } from '../interactions/home.ts';
import { interactions } from '../interactions/interactions.ts';
import { invitation } from '../interactions/invitation.ts';
import { login } from '../interactions/login.ts';
import { magicLink } from '../interactions/magic-link.ts';
import { notMe } from '../interactions/not-me.ts';
import { organization } from '../interactions/organization.ts';
import { createPages, type Pages } from '../interactions/pages.ts';
import { passkeySignIn } from '../interactions/passkey-sign-in.ts';
import { registration } from '../interactions/registration.ts';
import { createSignInSteps } from '../interactions/sign-in-steps.ts';
import { socialSignIn } from '../interactions/social-sign-in.ts';
import type { Views } from '../interactions/views.ts';
import type { Approvals } from './approvals.ts';
import type { Config } from './config.ts';
import type { Joining } from './joining.ts';
import type { Log } from './log.ts';
import type { People } from './people.ts';
import type { DetailsTypes } from './provider/authorization-details.ts';
import type { PostedRequests } from './provider/posted-requests.ts';
import type { AccessCache } from './roles/access-cache.ts';
import type { Secrets } from './secrets.ts';
import { endSessions, type QueueLogout } from './sessions/sessions.commands.ts';

export interface HostedParts extends People {
  config: Config;
  joining: Joining;
  db: Db;
  log: Log;
  secrets: Secrets;
  views: Views;
  mailbox: DevMailbox | undefined;
  approvals: Approvals;
  detailsTypes: DetailsTypes;
  queueLogout: QueueLogout;
  postedRequests: PostedRequests;
  /** Counts a request that is kept for a while. @throws AppError 429 */
  limitPosted(address: string): Promise<void>;
  /** The engine's instance that serves now. */
  provider(): Provider;
  shelf: AccessCache['shelf'];
  /** In development alone. */
  demoApp: typeof import('../interactions/demo.ts') | undefined;
}

export interface HostedPages {
  pages: Pages;
  middleware: Koa.Middleware;
  /** Where browsers go on the way to an identity provider, and come back. */
  federation: Koa.Middleware;
}

export const createHostedPages = (parts: HostedParts): HostedPages => {
  const { config, db, log, secrets, views, mailbox, approvals, detailsTypes, queueLogout, postedRequests } = parts;
  const { accounts, otp, mfa, factors, signInDeps, passkeySignInDeps, federated, needsMfa } = parts;
  const { limitPosted, provider, demoApp } = parts;
  const issuer = config.JWT_ISSUER;
  const pages: Pages = createPages({ config, db, log, secrets, views, provider, needsMfa, shelf: parts.shelf });
  const sendsMail = config.SMTP_URL !== undefined || mailbox !== undefined;
  const links =
    config.MAGIC_LINK && sendsMail ? magicLink({ pages, deps: { ...otp, ...accounts }, signInDeps }) : undefined;
  const signInSteps = createSignInSteps({ pages, deps: signInDeps, brand: config.BRAND_NAME });
  const cookie = createFederationCookie(issuer);
  const socialDeps = { ...federated, pages, signInDeps, handoffs: postedRequests, cookie, log };
  const social = socialSignIn(socialDeps);
  const middleware = compose([
    ...pages.middleware,
    interactions({
      pages,
      postedRequests,
      provider,
      assertNoFlood: signInDeps.passwords.assertNoFlood,
      limitPosted,
      steps: {
        create: create({ pages }),
        login: social.connecting(
          login({
            social,
            pages,
            signInDeps,
            accountDeps: accounts,
            steps: signInSteps,
            links,
            passkeys: passkeySignIn(passkeySignInDeps),
          }),
        ),
        organization: organization({ db, pages }),
        consent: consent({ db, pages, detailsTypes }),
      },
    }),
    ...(links ? [links.page] : []),
    registration({
      pages,
      deps: accounts,
      passwordMinLength: config.PASSWORD_MIN_LENGTH,
      registerSignsIn: config.REGISTER_SIGNS_IN,
      social,
    }),
    account({
      db,
      pages,
      secrets,
      deps: accounts,
      addressChange: otp,
      queueLogout,
      decideRequest: approvals.decideRequest,
      passwordMinLength: config.PASSWORD_MIN_LENGTH,
      more: [
        (router, frame) => mountInvitations(router, frame, { pages, deps: parts.joining.invitations }),
        (router, frame) => mountLinked(router, frame, socialDeps),
        mountTwoStep({ pages, deps: { ...mfa, ...factors }, brand: config.BRAND_NAME }),
        mountPasskeys({ pages, deps: { ...factors, relyingParty: mfa.relyingParty } }),
      ],
    }),
    invitation({ db, pages }),
    notMe({ pages, db, deps: accounts, endSession: (db, actor, of) => endSessions(db, actor, of, queueLogout) }),
    deviceOutcomes(pages),
    home({ pages, issuer, mailbox, demoHref: demoApp ? '/demo' : undefined }),
    ...(demoApp ? [demoApp.demo({ pages, issuer })] : []),
    pages.notFound,
  ]);
  return {
    pages,
    middleware,
    federation: federation({ ...socialDeps, issuer, origins: config.AUTH_API_CORS_ORIGINS, limitPosted }),
  };
};
