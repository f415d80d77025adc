/** Accounts over REST, put together: what they are is of `users/`, who may change whose is for `roles/` to say. */
import type { AccountDeps } from './auth/accounts.commands.ts';
import { dropMailedLinks } from './auth/action-tokens.commands.ts';
import { closeAccount } from './auth/closing.commands.ts';
import { createUser } from './auth/invitations.commands.ts';
import { tellOldAddress } from './auth/notices.commands.ts';
import type { Route } from './http/route.ts';
import { assertMayChangeAccount, assertMayTakeOver } from './roles/accounts-of-others.ts';
import { joinByWord } from './roles/joining.commands.ts';
import { profileRoutes } from './users/profiles.routes.ts';
import { userChangeRoutes } from './users/user-changes.routes.ts';
import { userRoutes } from './users/users.routes.ts';

export const createUserRoutes = (accounts: AccountDeps): Route[] => {
  const deps = {
    ...accounts,
    assertMayChange: assertMayChangeAccount,
    assertMayTakeOver,
    joinByWord,
  };
  return [
    ...userRoutes(deps),
    ...userChangeRoutes({
      ...deps,
      dropMailedLinks,
      tellOldAddress: (db, account) => tellOldAddress(accounts, db, account),
      createUser: (actor, by, input) => createUser(accounts, actor, by, input),
      closeAccount: (actor, by, input) => closeAccount(accounts, actor, by, input),
    }),
    ...profileRoutes(deps),
  ];
};
