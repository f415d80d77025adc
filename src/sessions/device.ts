/** A User-Agent for people: which browser, or which program, on what. */
import bowser from 'bowser';

const browsers: ReadonlySet<string> = new Set(Object.values(bowser.BROWSER_MAP));

/**
 * The product that a program which is no browser begins its User-Agent with (RFC 9110 section 10.1.5). What is told stands in
 * mails to the account's owner, and anybody can send one: so it is a word and a number, never a sentence or an address.
 */
const product = /^(?!Mozilla\b)([a-z][a-z-]{0,23})(?:$|\/v?(\d{1,3}(?:\.\d{1,3})?)[\d.]*(?![^\s;]))/i;

const productOf = (userAgent: string): { name: string; version?: string } | undefined => {
  const [, name, version] = product.exec(userAgent) ?? [];
  return name ? { name, ...(version ? { version } : {}) } : undefined;
};

/** What is not known is undefined. */
export const parseDevice = (userAgent: string | undefined): { browser?: string; system?: string } => {
  if (!userAgent) return {};
  const { browser, os } = bowser.parse(userAgent);
  const name = browser.name && browsers.has(browser.name) ? browser.name : productOf(userAgent)?.name;
  return { ...(name ? { browser: name } : {}), ...(os.name ? { system: os.name } : {}) };
};

/** "Firefox · Linux", "curl 8.5"; empty when nothing is known. */
export const describeDevice = (userAgent: string | undefined): string => {
  const { browser, system } = parseDevice(userAgent);
  const made = browser === undefined || browsers.has(browser) ? undefined : productOf(userAgent ?? '');
  return [made?.version ? `${made.name} ${made.version}` : browser, system].filter(Boolean).join(' · ');
};
