/** Version of package.json, put in by the build. */
declare const __LIGHTWELL_VERSION__: string;

/** OpenJPH as WebAssembly: the codec that Cornerstone ships. */
declare module '@cornerstonejs/codec-openjph/wasmjs' {
  export interface FrameInfo {
    readonly width: number;
    readonly height: number;
    readonly bitsPerSample: number;
    readonly componentCount: number;
    readonly isSigned: boolean;
  }
  export interface Decoder {
    /** Room for the codestream, within the memory of the module. */
    getEncodedBuffer(length: number): Uint8Array;
    decodeSubResolution(level: number): void;
    /** Of the whole image, whatever level was decoded. */
    getFrameInfo(): FrameInfo;
    getDecodedBuffer(): Uint8Array;
    delete(): void;
  }
  export interface Codec {
    readonly HTJ2KDecoder: new () => Decoder;
  }
  const factory: (options: { locateFile: (name: string) => string }) => Promise<Codec>;
  export default factory;
}
