/** A User-Agent for people: which browser, on what. */
import bowser from 'bowser';

/** "Firefox · Linux"; empty when nothing is known. */
export const describeDevice = (userAgent: string | undefined): string => {
  if (!userAgent) return '';
  const { browser, os } = bowser.parse(userAgent);
  return [browser.name, os.name].filter(Boolean).join(' · ');
};
