import { useState } from 'preact/hooks';
import type { ExplainedToken } from '../observability/history.ts';
import { Bar } from './parts.tsx';

/** The answer with a mark under each token that the model was unsure of; hover it, or step with the arrow keys. */
export function Tokens({ tokens, writing = false }: { tokens: readonly ExplainedToken[]; writing?: boolean }) {
  const [chosen, setChosen] = useState<number>();
  const step = (by: number) =>
    setChosen((last) => Math.min(tokens.length - 1, Math.max(0, (last ?? (by > 0 ? -1 : 0)) + by)));
  const token = chosen === undefined ? undefined : tokens[chosen];
  return (
    <>
      {/* biome-ignore lint/a11y/useSemanticElements: nobody fills this group in */}
      <div
        class={`said ${writing ? 'caret' : ''}`}
        role="group"
        aria-label="Answer, token by token: arrow keys show how likely each was"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: one stop for the whole text; arrow keys move inside it
        tabIndex={0}
        onMouseOver={({ target }) => {
          const index = target instanceof HTMLElement ? target.dataset['index'] : undefined;
          if (index !== undefined) setChosen(Number(index));
        }}
        onMouseLeave={() => setChosen(undefined)}
        onFocus={() => setChosen((last) => last ?? 0)}
        onBlur={() => setChosen(undefined)}
        onKeyDown={(event) => {
          if (event.key === 'ArrowRight') step(1);
          else if (event.key === 'ArrowLeft') step(-1);
          else if (event.key === 'Escape') setChosen(undefined);
          else return;
          event.preventDefault();
        }}
      >
        {tokens.map(({ token: text, probability }, index) => (
          <span
            class={`token ${levelOf(probability)} ${index === chosen ? 'chosen' : ''}`}
            data-index={index}
            key={index}
          >
            {text}
          </span>
        ))}
      </div>
      {token && (
        <div class="inspector" role="status">
          {[
            { token: token.token, probability: token.probability },
            ...token.alternatives.filter((other) => other.token !== token.token),
          ]
            .slice(0, 6)
            .map((one, index) => (
              <>
                <code>{index === 0 ? <strong>{visible(one.token)}</strong> : visible(one.token)}</code>
                <Bar share={one.probability} label={`Probability of ${visible(one.token)}`} />
                <span>{(one.probability * 100).toFixed(one.probability < 0.1 ? 1 : 0)} %</span>
              </>
            ))}
        </div>
      )}
    </>
  );
}

const levelOf = (probability: number) =>
  probability > 0.8 ? 'p4' : probability > 0.5 ? 'p3' : probability > 0.2 ? 'p2' : 'p1';

const visible = (token: string) => token.replaceAll(' ', '␣').replaceAll('\n', '⏎') || '∅';
