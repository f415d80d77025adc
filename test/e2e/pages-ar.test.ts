import { describePages } from './pages.ts';

// What reads from right to left is judged in the gallery.
describePages('ar', 'rtl', { isJudged: false });
