/** Version of package.json, put in by the build. */
declare const __LIGHTWELL_VERSION__: string;
