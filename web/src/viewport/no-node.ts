/** Stands for Node's `fs` and `path`, which the codecs' glue names but never reaches in a browser. */
export default {};
