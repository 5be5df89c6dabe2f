/** Retries as a share of traffic, so that a storm of failures can not become a storm of retries. */
export interface RetryBudget {
  /** A request of the ordinary kind was made. */
  deposit(): void;
  /** Takes one retry (or hedge) from the budget; false when there is none left. */
  withdraw(): boolean;
  readonly balance: number;
}

export interface RetryBudgetLimits {
  /** Retries per request in the long run: 0.1 is one in ten. */
  readonly share: number;
  /** What may be saved up; also what is there at the start, so that the first failures of a quiet gateway are retried. */
  readonly burst: number;
}

const defaultRetryBudget: RetryBudgetLimits = { share: 0.1, burst: 10 };

export function createRetryBudget({ share, burst }: RetryBudgetLimits = defaultRetryBudget): RetryBudget {
  let balance = burst;
  return {
    deposit() {
      balance = Math.min(burst, balance + share);
    },
    withdraw() {
      if (balance < 1) return false;
      balance -= 1;
      return true;
    },
    get balance() {
      return balance;
    },
  };
}
