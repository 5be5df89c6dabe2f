import type { EngineOutput, EngineReport } from './protocol.ts';

/** What goes to the gateway: everything that one step brought in one message. */
export interface Outbox {
  push(output: EngineOutput): void;
  /** Sends what there is. The report goes along when others run or wait than before, and else now and then. */
  flush(): void;
}

/** A report with every token would be most of what is sent. */
const reportEveryMs = 100;

/** `occupancy` changes when others run or wait. */
export function createOutbox(
  emit: (outputs: readonly EngineOutput[], report: EngineReport | undefined) => void,
  occupancy: () => string,
  report: () => EngineReport,
): Outbox {
  let outputs: EngineOutput[] = [];
  let reported = { occupancy: occupancy(), ms: 0 };
  return {
    push(output) {
      outputs.push(output);
    },
    flush() {
      const present = occupancy();
      if (outputs.length === 0 && present === reported.occupancy) return;
      const batch = outputs;
      outputs = [];
      const now = performance.now();
      const due = present !== reported.occupancy || now - reported.ms >= reportEveryMs;
      if (due) reported = { occupancy: present, ms: now };
      emit(batch, due ? report() : undefined);
    },
  };
}
