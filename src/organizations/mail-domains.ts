/** What a mail domain is: a host name in the form in which addresses are stored, of which an organization can be the only owner. */
import { domainToASCII } from 'node:url';

/**
 * Where anybody gets a mailbox. DNS proves none of them, since nobody but the provider sets its records; they are refused all the
 * same, so that no administrator marks one by hand and has the world join.
 */
const publicProviders = new Set(
  [
    'gmail.com googlemail.com outlook.com hotmail.com hotmail.co.uk live.com msn.com yahoo.com yahoo.co.uk yahoo.co.jp ymail.com',
    'icloud.com me.com mac.com aol.com proton.me protonmail.com pm.me tutanota.com tuta.com fastmail.com zoho.com hey.com mail.com',
    'gmx.de gmx.net gmx.at gmx.ch gmx.com web.de t-online.de freenet.de posteo.de mailbox.org laposte.net orange.fr free.fr sfr.fr',
    'wanadoo.fr libero.it virgilio.it terra.es telefonica.net yandex.ru yandex.com mail.ru bk.ru inbox.ru list.ru rambler.ru',
    'qq.com 163.com 126.com yeah.net sina.com foxmail.com naver.com daum.net hanmail.net rediffmail.com uol.com.br bol.com.br',
  ].flatMap((line) => line.split(' ')),
);

export const isPublicProvider = (domain: string): boolean => publicProviders.has(domain);

const label = '[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?';
const name = new RegExp(`^(${label}\\.)+(?=[a-z0-9-]*[a-z])${label}$`);

/**
 * The domain in lower case and, where it is written in another script, in the form that DNS has (RFC 5891); undefined for what is
 * no domain of two labels or more. Those beneath it are not included: they may be somebody else’s.
 */
export const normalizeDomain = (text: string): string | undefined => {
  const trimmed = text.trim().replace(/^@/, '').replace(/\.$/, '');
  // It is decoded as a URL's host otherwise, and a part of it taken.
  if (/[\s/\\?#:@%[\]]/.test(trimmed)) return undefined;
  const domain = domainToASCII(trimmed);
  return domain.length <= 200 && name.test(domain) ? domain : undefined;
};

/** The name of the TXT record that holds the token. */
export const challengeName = (domain: string): string => `_countersign-challenge.${domain}`;
