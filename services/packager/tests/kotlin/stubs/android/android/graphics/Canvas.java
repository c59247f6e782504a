package android.graphics;

public class Canvas {
  public Canvas(Bitmap bitmap) {}
  public void drawRect(float left, float top, float right, float bottom, Paint paint) {}
  public void drawCircle(float x, float y, float radius, Paint paint) {}
  public void drawText(String text, float x, float y, Paint paint) {}
  public int save() { return 0; }
  public void restore() {}
  public final void rotate(float degrees, float x, float y) {}
}
