/** `/account/passkeys`: one's passkeys. Adding one takes a script; naming and removing them does not. */

import type Router from '@koa/router';
import type Koa from 'koa';
import { z } from 'zod';
import { AppError } from '../../src/errors.ts';
import { FactorName } from '../../src/mfa/factor-fields.ts';
import { removeFactor, renameFactor } from '../../src/mfa/factors.commands.ts';
import { findFactors } from '../../src/mfa/factors.queries.ts';
import {
  type AddedPasskey,
  type PasskeyDeps,
  passkeyRegistrationOptions,
  passkeysMax,
  registerPasskey,
} from '../../src/mfa/passkeys.commands.ts';
import { findPasskey, listPasskeys } from '../../src/mfa/passkeys.queries.ts';
import { describeDevice } from '../../src/sessions/device.ts';
import type { Pages, Visitor } from '../pages.ts';
import { allowAsking, postedRegistration } from '../passkey-sign-in.ts';
import type { Problem } from '../view-props.ts';
import type { MountPage } from './account.ts';
import { passkeysPath } from './navigation.ts';
import { codesAction } from './two-step.ts';

const notices = new Set(['passkeyAdded', 'passkeyRenamed', 'passkeyRemoved']);

const IdForm = z.object({ id: z.uuid() });
const NameForm = IdForm.extend({ name: FactorName });
/** What a refusal says on the page. */
const refusals: Record<string, string> = {
  invalid_passkey: 'passkeyNotAdded',
  passkey_exists: 'passkeyExists',
  passkey_limit_reached: 'passkeyLimit',
  last_factor: 'lastFactor',
  factor_not_found: 'notFound',
  email_not_verified: 'emailNotVerified',
};

const problemOf = (ctx: Koa.Context, error: unknown): Problem[] => {
  const code = error instanceof AppError ? refusals[error.code] : undefined;
  if (!(error instanceof AppError) || !code) throw error;
  ctx.status = error.status;
  return [{ code }];
};

export const mountPasskeys =
  ({ pages, deps }: { pages: Pages; deps: PasskeyDeps }): MountPage =>
  (router: Router, { signedIn, recent, signInAgainHref, redirect }) => {
    const { db } = deps;

    const page = async (ctx: Koa.Context, visitor: Visitor, problems: Problem[] = []) => {
      const { user } = visitor;
      const confirmHref = await signInAgainHref(visitor, passkeysPath);
      const passkeys = await listPasskeys(db, user.id);
      const notice = String(ctx.query.notice ?? '');
      allowAsking(ctx);
      pages.show(
        ctx,
        'passkeys',
        {
          passkeys: passkeys.map(({ id, name, discoverable, backedUp, createdAt, lastUsedAt }) => ({
            id,
            name,
            synced: backedUp,
            secondOnly: !discoverable,
            madeAt: createdAt,
            ...(lastUsedAt ? { lastUsedAt } : {}),
            removeHref: `${passkeysPath}/${id}/remove`,
          })),
          addAction: passkeysPath,
          optionsHref: `${passkeysPath}/options`,
          renameAction: `${passkeysPath}/rename`,
          suggestedName: describeDevice(ctx.get('user-agent')) || 'Passkey',
          full: passkeys.length >= passkeysMax,
          verified: user.emailVerifiedAt !== null,
          ...(confirmHref ? { confirmHref } : {}),
          ...(notices.has(notice) ? { notice } : {}),
          problems,
        },
        { signedInAs: user.email, status: problems.length ? ctx.status : 200 },
      );
    };

    router.get(
      '/passkeys',
      signedIn((ctx, visitor) => page(ctx, visitor)),
    );

    router.get(
      '/passkeys/options',
      recent(async (ctx, { user, sessionUid }) => {
        const { id: userId, email, name } = user;
        const standing = { sessionUid };
        ctx.set('Cache-Control', 'no-store');
        ctx.body = await passkeyRegistrationOptions(deps, { userId, standing, email, name });
      }),
    );

    router.post(
      '/passkeys',
      recent(async (ctx, visitor) => {
        const { user, actor, sessionUid } = visitor;
        let added: AddedPasskey;
        try {
          const input = { userId: user.id, standing: { sessionUid }, ...postedRegistration(ctx) };
          added = await registerPasskey(deps, db, actor, input);
        } catch (error) {
          return await page(ctx, visitor, problemOf(ctx, error));
        }
        const { backupCodes } = added;
        if (!backupCodes.length) return redirect(ctx, `${passkeysPath}?notice=passkeyAdded`);
        const props = { codes: backupCodes, account: user.email, added: true, downloadAction: codesAction };
        const doneHref = `${passkeysPath}?notice=passkeyAdded`;
        // What was shown once is not fetched again in another language.
        pages.show(ctx, 'backup-codes', { ...props, doneHref }, { signedInAs: user.email, path: '' });
      }),
    );

    router.post(
      '/passkeys/rename',
      recent(async (ctx, visitor) => {
        const { user, actor, sessionUid } = visitor;
        try {
          const form = NameForm.safeParse(ctx.request.body ?? {});
          if (!form.success) {
            ctx.status = 400;
            return await page(ctx, visitor, [{ code: 'nameTooLong' }]);
          }
          const change = { userId: user.id, standing: { sessionUid }, kind: 'passkey', ...form.data } as const;
          await renameFactor(db, actor, change);
          redirect(ctx, `${passkeysPath}?notice=passkeyRenamed`);
        } catch (error) {
          await page(ctx, visitor, problemOf(ctx, error));
        }
      }),
    );

    router.get(
      '/passkeys/:id/remove',
      recent(async (ctx, visitor) => {
        const id = z.uuid().safeParse(ctx.params.id);
        const passkey = id.success ? await findPasskey(db, visitor.user.id, id.data) : undefined;
        if (!passkey) {
          ctx.status = 404;
          return page(ctx, visitor, [{ code: 'notFound' }]);
        }
        const { totp, passkeys } = await findFactors(db, visitor.user.id);
        const last = !totp && passkeys === 1;
        const props = {
          id: passkey.id,
          name: passkey.name,
          last,
          action: `${passkeysPath}/remove`,
          keepHref: passkeysPath,
        };
        pages.show(ctx, 'passkey-remove', { ...props, problems: [] }, { signedInAs: visitor.user.email });
      }),
    );

    router.post(
      '/passkeys/remove',
      recent(async (ctx, visitor) => {
        const { user, actor, sessionUid } = visitor;
        try {
          const { id } = pages.form(ctx, IdForm);
          const change = { userId: user.id, standing: { sessionUid }, kind: 'passkey', id } as const;
          await removeFactor(deps, db, actor, change);
          redirect(ctx, `${passkeysPath}?notice=passkeyRemoved`);
        } catch (error) {
          await page(ctx, visitor, problemOf(ctx, error));
        }
      }),
    );
  };
