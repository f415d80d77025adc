/** A User-Agent for people: which browser, on what. */
import bowser from 'bowser';

/** What is not known is undefined. */
export const parseDevice = (userAgent: string | undefined): { browser?: string; system?: string } => {
  if (!userAgent) return {};
  const { browser, os } = bowser.parse(userAgent);
  return { ...(browser.name ? { browser: browser.name } : {}), ...(os.name ? { system: os.name } : {}) };
};

/** "Firefox · Linux"; empty when nothing is known. */
export const describeDevice = (userAgent: string | undefined): string => {
  const { browser, system } = parseDevice(userAgent);
  return [browser, system].filter(Boolean).join(' · ');
};
