/** Until when a certificate is good: early enough to renew it. */
import type { Report } from './findings.ts';

const warningDays = 21;
const dayMs = 86_400_000;

/** @param what names the certificate */
export const reportCertificateEnd = (what: string, end: Date, report: Report): void => {
  const days = Math.floor((end.getTime() - Date.now()) / dayMs);
  const text = `${what} ends ${end.toISOString().slice(0, 10)}`;
  if (days < 0) report('failure', `${text}: it has expired`, 'Renew the certificate');
  else report(days < warningDays ? 'warning' : 'ok', `${text}, in ${days} days`, 'Renew the certificate');
};
