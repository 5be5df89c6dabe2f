import { describeProviders } from './conformance.ts';
import { createPerformer } from './perform.ts';
import { heardOf, never, transport } from './support.ts';

describeProviders(async () => {
  const performer = createPerformer(transport);
  return {
    hear: (asked, signal = never) => heardOf(performer.events(asked, signal)),
    sent: (asked) => performer.sent(asked, never),
    close: async () => {},
  };
});
