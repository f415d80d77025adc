/** Has those who ask at the same time ask together: one statement for many costs far less than many for one each. */

interface Waiting<Question, Answer> {
  question: Question;
  answer(value: Answer | Promise<Answer>): void;
  fail(error: unknown): void;
}

/** For how long questions wait for others where a batch could start, in milliseconds: the one under way may be stuck. */
const patienceMs = 20;

/**
 * Puts questions that arrive while others are being answered together. The first goes alone and at once; another batch starts beside
 * those under way when as many wait as they were asked, so that the busier it is, the larger they are.
 * @param ask answers each question at its place
 * @param max how many questions one batch may have
 * @param lanes how many batches run at once
 */
export const inBatches = <Question, Answer>(
  ask: (questions: readonly Question[]) => Promise<readonly (Answer | Promise<Answer>)[]>,
  { max, lanes }: { max: number; lanes: number },
): ((question: Question) => Promise<Answer>) => {
  let waiting: Waiting<Question, Answer>[] = [];
  let running = 0;
  /** How many questions are being answered. */
  let underWay = 0;
  let scheduled = false;
  let isPatient = false;

  const run = async (batch: readonly Waiting<Question, Answer>[]): Promise<void> => {
    running++;
    underWay += batch.length;
    try {
      const answers = await ask(batch.map(({ question }) => question));
      for (const [at, one] of batch.entries()) one.answer(answers[at] as Answer | Promise<Answer>);
    } catch (error) {
      for (const one of batch) one.fail(error);
    } finally {
      running--;
      underWay -= batch.length;
      schedule();
    }
  };
  const isFree = () => waiting.length > 0 && running < lanes;
  const isWorthIt = () => waiting.length >= Math.min(underWay, max);
  const startOne = () => {
    const batch = waiting.slice(0, max);
    waiting = waiting.slice(max);
    void run(batch);
  };
  const start = () => {
    scheduled = false;
    while (isFree() && isWorthIt()) startOne();
    schedule();
  };
  const startLate = () => {
    isPatient = false;
    if (isFree()) startOne();
    schedule();
  };
  const schedule = () => {
    if (scheduled || !isFree()) return;
    if (!isWorthIt()) {
      if (!isPatient) setTimeout(startLate, patienceMs);
      isPatient = true;
      return;
    }
    scheduled = true;
    // After all that has arrived has been taken in, so that it is asked together.
    setImmediate(start);
  };

  return (question) =>
    new Promise((answer, fail) => {
      waiting.push({ question, answer, fail });
      schedule();
    });
};
