import { useState } from 'preact/hooks';
import { post } from './api.ts';
import type { ShownCall, Turn } from './chat.ts';
import { count, duration } from './format.ts';
import { Icon } from './icons.tsx';
import { CopyButton } from './parts.tsx';
import { Tokens } from './tokens.tsx';

interface TurnProps {
  readonly turn: Turn;
  readonly writing: boolean;
  readonly onToolResult: (call: ShownCall, result: string) => void;
}

export function TurnView({ turn, writing, onToolResult }: TurnProps) {
  if (turn.role === 'user') return <div class="turn user said">{turn.text}</div>;
  if (turn.role === 'tool') return <div class="turn user said mono">{turn.text}</div>;
  const { text, thinking, tokens, calls, error, stats } = turn;
  const perToken = tokens && tokens.length > 0 && tokens.map(({ token }) => token).join('') === text;
  return (
    <div class="turn assistant">
      {thinking && (
        <details>
          <summary>Thoughts</summary>
          <div class="thinking">{thinking}</div>
        </details>
      )}
      {perToken ? (
        <Tokens tokens={tokens} writing={writing} />
      ) : (
        (text || writing) && (
          <div class={`said ${writing ? 'caret' : ''} ${text ? '' : 'waiting'}`}>{text || 'Reading the prompt'}</div>
        )
      )}
      {calls?.map((call) => (
        <Call call={call} key={call.id} done={!writing} onResult={onToolResult} />
      ))}
      {error && (
        <div class="notice bad" role="alert">
          {error} {turn.id && <HowItCame id={turn.id} />}
        </div>
      )}
      {stats && !error && (
        <div class="stats">
          {stats.ttftMs !== undefined && (
            <span title="Time to first token">{duration(stats.ttftMs)} to first token</span>
          )}
          {stats.tokensPerSecond !== undefined && <span>{count(stats.tokensPerSecond)} tokens/s</span>}
          {stats.tokens !== undefined && <span>{count(stats.tokens)} tokens</span>}
          {turn.finish && turn.finish !== 'stop' && <span class="badge warn">{turn.finish.replaceAll('_', ' ')}</span>}
          {!writing && turn.id && <Rating id={turn.id} />}
          {!writing && text && <CopyButton text={text} />}
          {!writing && turn.id && <HowItCame id={turn.id} />}
        </div>
      )}
    </div>
  );
}

const HowItCame = ({ id }: { id: string }) => <a href={`#/requests/${encodeURIComponent(id)}`}>How it came about</a>;

function Rating({ id }: { id: string }) {
  const [given, setGiven] = useState<number>();
  const give = (score: number) =>
    void post('/v1/feedback', { response_id: id, score }).then(
      () => setGiven(score),
      () => setGiven(undefined),
    );
  return (
    <span class="together">
      <button
        type="button"
        class="button quiet small"
        aria-label="Good answer"
        aria-pressed={given === 1}
        onClick={() => give(1)}
      >
        <Icon name="up" />
      </button>
      <button
        type="button"
        class="button quiet small"
        aria-label="Bad answer"
        aria-pressed={given === 0}
        onClick={() => give(0)}
      >
        <Icon name="down" />
      </button>
      {given !== undefined && <span role="status">Thanks</span>}
    </span>
  );
}

interface CallProps {
  readonly call: ShownCall;
  readonly done: boolean;
  readonly onResult: (call: ShownCall, result: string) => void;
}

/** A tool call with a place to say what the tool would answer. */
function Call({ call, done, onResult }: CallProps) {
  const [result, setResult] = useState('');
  const [sent, setSent] = useState(false);
  return (
    <form
      class="card stack"
      onSubmit={(event) => {
        event.preventDefault();
        setSent(true);
        onResult(call, result);
      }}
    >
      <div class="mono">
        <strong>{call.name}</strong>({call.arguments})
      </div>
      {done && !sent && (
        <div class="row">
          <input
            aria-label={`Result of ${call.name}`}
            placeholder="What the tool answers"
            style={{ flex: 1, width: 'auto' }}
            value={result}
            onInput={(event) => setResult(event.currentTarget.value)}
          />
          <button class="button" type="submit">
            Send result
          </button>
        </div>
      )}
    </form>
  );
}
