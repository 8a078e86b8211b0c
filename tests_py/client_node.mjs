// client_node.mjs MODEL PROMPT N - what node-llama-cpp does with a model, as one line of JSON; test_client_node.py compares it.
import {getLlama, LlamaCompletion, LlamaChatSession, LlamaGrammar} from "node-llama-cpp";

const [modelPath, prompt, n] = process.argv.slice(2);
const options = {maxTokens: Number(n), temperature: 0};
const llama = await getLlama({build: "never", gpu: false, progressLogs: false, logLevel: "error"});
const model = await llama.loadModel({modelPath});
const context = await model.createContext({contextSize: 512, threads: 2, sequences: 2});
const sequence = context.getSequence();
const completion = new LlamaCompletion({contextSequence: sequence});

const pieces = [];
const text = await completion.generateCompletion(prompt, {...options, onTextChunk: (piece) => pieces.push(piece)});
const again = await completion.generateCompletion(prompt, options);
const seeds = [];
for (const seed of [7, 7, 8])
    seeds.push(await completion.generateCompletion(prompt, {maxTokens: 16, temperature: 1.5, topK: 0, topP: 1, seed}));
const grammar = new LlamaGrammar(llama, {grammar: 'root ::= " " ("yes" | "no") "!"'});
const allowed = await completion.generateCompletion("Is water wet?", {...options, grammar});
const session = new LlamaChatSession({contextSequence: context.getSequence(), systemPrompt: "You are terse."});
const answer = await session.prompt("Name a colour.", options);
const tokens = model.tokenize("Hello, world!");
console.log(JSON.stringify({text, again, streamed: pieces.join(""), seeds, allowed, answer, tokens, detokenized: model.detokenize(tokens),
    trainContextSize: model.trainContextSize, embeddingVectorSize: model.embeddingVectorSize}));
process.exit(0);
