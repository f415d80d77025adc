/** FAPI 2.0 Message Signing Final: signed requests are pushed (JAR), and answered by signed responses (JARM). */
import { testFapi2 } from './fapi2-plan.ts';

testFapi2('fapi2-message-signing-final-test-plan', { requests: 'signed_non_repudiation', responses: 'jarm' });
