import { describePages } from './pages.ts';

describePages('en', 'ltr', { isJudged: true });
