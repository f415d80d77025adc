/** FAPI 2.0 Security Profile Final: requests are pushed unsigned, and answered plainly. */
import { testFapi2 } from './fapi2-plan.ts';

testFapi2('fapi2-security-profile-final-test-plan', { requests: 'unsigned', responses: 'plain_response' });
