package org.tensorflow.lite;

import java.io.File;
import java.nio.ByteBuffer;
import java.util.Map;

/** What the wrapper asks of LiteRT's interpreter, with the genuine names and types, over the C API of the real library. */
public final class Interpreter implements AutoCloseable {
  static {
    System.load(System.getProperty("litert.native"));
  }

  private final ByteBuffer model;
  private long handle;

  public Interpreter(File modelFile) {
    this(0L, load(modelFile.getPath(), null), null);
  }

  public Interpreter(ByteBuffer model) {
    this(0L, load(null, model), model);
    if (!model.isDirect()) throw new IllegalArgumentException("Model ByteBuffer should be either a MappedByteBuffer or direct");
  }

  private Interpreter(long unused, long handle, ByteBuffer model) {
    if (handle == 0) throw new IllegalArgumentException("the model cannot be read");
    this.handle = handle;
    this.model = model;
  }

  public String[] getSignatureKeys() {
    return names(open(), 0);
  }

  public String[] getSignatureInputs(String key) {
    return names(open(), 1);
  }

  public String[] getSignatureOutputs(String key) {
    return names(open(), 2);
  }

  public Tensor getInputTensorFromSignature(String name, String key) {
    return new Described(facts(open(), name, true));
  }

  public Tensor getOutputTensorFromSignature(String name, String key) {
    return new Described(facts(open(), name, false));
  }

  public void runSignature(Map<String, Object> inputs, Map<String, Object> outputs, String key) {
    inputs.forEach((name, value) -> copy(open(), name, (ByteBuffer) value, true));
    if (!invoke(open())) throw new IllegalArgumentException("the model did not run");
    outputs.forEach((name, value) -> copy(open(), name, (ByteBuffer) value, false));
  }

  @Override
  public void close() {
    if (handle != 0) free(handle);
    handle = 0;
  }

  private long open() {
    if (handle == 0) throw new IllegalStateException("Internal error: The Interpreter has already been closed.");
    return handle;
  }

  private static final class Described implements Tensor {
    private final int[] facts;

    Described(int[] facts) {
      if (facts == null) throw new IllegalArgumentException("Invalid tensor name");
      this.facts = facts;
    }

    @Override
    public DataType dataType() {
      return DataType.of(facts[0]);
    }

    @Override
    public int[] shape() {
      return java.util.Arrays.copyOfRange(facts, 2, facts.length);
    }

    @Override
    public int numElements() {
      return java.util.Arrays.stream(shape()).reduce(1, (a, b) -> a * b);
    }

    @Override
    public int numBytes() {
      return facts[1];
    }
  }

  private static native long load(String path, ByteBuffer model);

  /** Of signatures (0), inputs (1) or outputs (2). */
  private static native String[] names(long handle, int which);

  /** Type, bytes, and the sides of the shape. */
  private static native int[] facts(long handle, String name, boolean isInput);

  private static native void copy(long handle, String name, ByteBuffer buffer, boolean isInput);

  private static native boolean invoke(long handle);

  private static native void free(long handle);
}
