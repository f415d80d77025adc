/** Mails that anybody may ask for, by an address alone: what is sent is decided behind the request. */
import { type AccountDeps, type MailRequest, resendVerification } from './accounts.commands.ts';
import { answerLinkRequest } from './magic-links.commands.ts';
import { forgotPassword } from './password.commands.ts';

/** Answers a request for a mail; this is the queue's work. */
export const answerMailRequest = (deps: AccountDeps, request: MailRequest): Promise<void> => {
  const { kind, email, actor } = request;
  if (kind === 'sign-in-link') return answerLinkRequest(deps, request);
  return kind === 'verification' ? resendVerification(deps, actor, email) : forgotPassword(deps, actor, email);
};
