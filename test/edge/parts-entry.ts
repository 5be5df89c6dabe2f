export { Environment } from '@marcbachmann/cel-js';
export { calcPrice } from '@pydantic/genai-prices';
